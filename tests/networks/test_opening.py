"""Whatever a user has of a network opens as the network it was, with what is known of it."""

import json

import pytest
import safetensors
import torch

from convgate.errors import CorruptFile, InputError
from convgate.insertion import insert
from convgate.models import create_model
from convgate.networks import Card, gates_of, open_network, open_networks, save_network, start_from
from convgate.storage import WEIGHTS, load_weights, save_weights
from convgate.train.fit import fit
from convgate.train.recipe import load_recipe, override


def test_a_run_by_its_folder_or_its_weights(run):
    folder, model = run
    x = torch.randn(2, 1, 8, 8)
    for place in (folder, folder / WEIGHTS):
        network = open_network(place)
        assert torch.equal(network.model(x), model(x))
        assert not network.model.training
    card = network.card
    assert (card.gates[0].name, card.classes[3], card.options["in_chans"]) == ("se", "3", 1)
    assert (card.images.mean, card.images.std) == ((0.3,), (0.4,))
    assert (card.images.input_size, card.images.resize) == ((1, 8, 8), "square")
    assert (network.image_px, network.in_chans, network.title) == (8, 1, "resnet8 + se")


def test_a_fresh_run_notes_its_mean(tmp_path):
    tiny = ("data.train_count=100", "schedule.epochs=1")
    fit(override(load_recipe("digits/demo"), *tiny), tmp_path / "run", progress=False)
    images = open_network(tmp_path / "run").images
    with safetensors.safe_open(tmp_path / "run" / WEIGHTS, "pt") as file:
        stored = json.loads(file.metadata()["convgate"])
    assert stored["images"]["mean"] == list(images.mean)
    assert 0.2 < images.mean[0] < 0.4 < 1.5 * images.std[0]


def gated(path, weights="drawn by a test"):
    model = create_model("resnet8").eval()
    insert(model, "seln", stages=[2, 3], start="paper", reduction=8)
    card = Card(model="resnet8", gates=gates_of(model), weights=weights)
    save_network(path, model.state_dict(), card)
    return model


def test_a_weights_file_with_a_card(tmp_path):
    path = tmp_path / "gated.safetensors"
    model = gated(path)
    network = open_network(path)
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(network.model(x), model(x))
    assert {place.stage for place in network.card.gates[0].places} == {2, 3}
    assert network.title == "resnet8 + seln"
    gated(path, weights="random")
    assert open_network(path).title == "resnet8 + seln (random weights)"


def test_a_name_and_a_checkpoint(tmp_path):
    model = create_model("resnet8").eval()
    torch.save(model.state_dict(), tmp_path / "net.pth")
    network = open_network("resnet8", weights=tmp_path / "net.pth")
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(network.model(x), model(x))
    assert network.card.weights == "net.pth"
    random = open_network("resnet8")
    assert (network.card.classes, random.card.weights, random.card.is_random) == ((), "random", 1)
    assert torch.equal(random.model(x), open_network("resnet8").model(x))  # the same every time
    assert open_network("torchvision/resnet18").images.crop_pct == 224 / 256
    assert open_network("resnet10t.c3_in1k").image_px == 176  # as timm notes for that tag


def test_another_size_is_tried_at_once():
    assert open_network("resnet8", image_px=40).image_px == 40
    with pytest.raises(InputError, match="cannot take pictures of 100 px"):
        open_network("swin_tiny_patch4_window7_224", image_px=100)
    with pytest.raises(InputError, match="leaves no image"):
        open_network("resnet8", image_px=-1)


def test_labels_tell_networks_apart(run, tmp_path):
    folder, _ = run
    weights, metadata = load_weights(folder / WEIGHTS)
    other = tmp_path / "other"
    other.mkdir()
    save_weights(other / WEIGHTS, weights, metadata)
    labels = [network.label for network in open_networks([str(folder), str(other), "resnet8"])]
    assert labels == ["resnet8 + se (run)", "resnet8 + se (other)", "resnet8"]
    twins = [tmp_path / study / "none-s0" for study in "ab"]
    files = [twins[0] / f"{name}.safetensors" for name in "xy"]
    for path in (*(twin / WEIGHTS for twin in twins), *files):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_weights(path, weights, metadata)
    refs = [*map(str, twins), *map(str, files)]
    own = ("a/none-s0", "b/none-s0", "x.safetensors", "y.safetensors")
    labels = [network.label for network in open_networks(refs)]
    assert labels == [f"resnet8 + se ({end})" for end in own]
    with pytest.raises(InputError, match="is given twice"):
        open_networks(["resnet8", "resnet8"])
    with pytest.raises(InputError, match="no network is named"):
        open_networks([])


def test_weights_beside_a_run_are_for_the_names(run, tmp_path):
    folder, _ = run
    torch.manual_seed(3)
    state = create_model("resnet8").state_dict()
    torch.save(state, tmp_path / "w.pth")
    opened = open_networks([str(folder), "resnet8"], weights=tmp_path / "w.pth")
    assert opened[1].card.weights == "w.pth"
    assert torch.equal(opened[1].model.state_dict()["fc.weight"], state["fc.weight"])
    with pytest.raises(InputError, match="has its own weights"):
        open_networks([str(folder)], weights=tmp_path / "w.pth")


def test_a_name_is_a_name_beside_a_folder_of_that_name(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resnet8").mkdir()
    assert open_network("resnet8").card.is_random
    with pytest.raises(InputError, match="is a folder without"):
        open_network("./resnet8")


def test_training_starts_from_a_file_with_its_gates(tmp_path):
    path = tmp_path / "gated.safetensors"
    gated(path)
    spec = start_from(path)
    assert (spec.name, spec.weights, spec.gates) == ("resnet8", str(path), True)
    assert start_from("resnet20").weights is None
    plain = open_network("resnet8")
    save_network(path, plain.model.state_dict(), plain.card)
    assert start_from(path).weights_classes == 10  # the head that the file has
    with pytest.raises(InputError, match="unknown model 'resnet88'"):
        start_from("resnet88")


@pytest.mark.parametrize(
    ("ref", "sentence"),
    [
        ("./nothing", "there is no such file or folder"),
        ("net.onnx", "there is no such file or folder"),
        ("resnet88", "unknown model 'resnet88'"),
    ],
)
def test_what_is_nowhere(ref, sentence):
    with pytest.raises(InputError, match=sentence):
        open_network(ref)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("net.onnx", "is an ONNX file, and what is taken is a name of"),
        ("net.xml", "is an OpenVINO file"),
        ("net.pth", "is a file of weights alone; name its network, and the file with --weights"),
        ("photo.JPG", "is a picture"),
        ("study.toml", "is a recipe"),
        ("notes.txt", "is a file of another kind"),
    ],
)
def test_files_of_another_kind_are_named(tmp_path, name, sentence):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=sentence):
        open_network(tmp_path / name)


def test_folders_of_another_kind_are_named(tmp_path, run):
    with pytest.raises(InputError, match=r"is a folder without weights\.safetensors"):
        open_network(tmp_path)
    (tmp_path / "study.db").touch()
    with pytest.raises(InputError, match="is a study; name one of its runs"):
        open_network(tmp_path)
    (tmp_path / "last.ckpt").touch()
    with pytest.raises(InputError, match="a run that is not finished; train it to its end"):
        open_network(tmp_path)
    with pytest.raises(InputError, match="has its own weights"):
        open_network(run[0], pretrained=True)


def test_damaged_and_foreign_weights(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(CorruptFile, match="truncated or not a safetensors file"):
        open_network(path)
    plain = {"w": torch.zeros(1)}
    save_weights(path, plain, {})
    with pytest.raises(InputError, match="does not say which network it holds"):
        open_network(path)
    for text in ("[]", "{", "[" * 100_000):
        save_weights(path, plain, {"convgate": text})
        with pytest.raises(CorruptFile, match="its description is damaged"):
            open_network(path)
    save_weights(path, plain, {"convgate": '{"model": "resnet8"}'})
    with pytest.raises(CorruptFile, match="does not fit its own description"):
        open_network(path)
    save_network(path, plain, Card(weights="trained"))
    with pytest.raises(InputError, match="its owner built in Python"):
        open_network(path)
