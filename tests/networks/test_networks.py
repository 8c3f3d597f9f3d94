"""Networks by name and as runs left them, each with its own preprocessing."""

import pytest
import torch
from PIL import Image

from convgate.errors import InputError
from convgate.networks import open_networks
from convgate.storage import WEIGHTS, load_weights
from convgate.train.fit import fit
from convgate.train.recipe import load_recipe, override


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two epochs on digits, which have one channel of 8 x 8 pixels."""
    settings = ("data.train_count=200", "schedule.epochs=2", "schedule.warmup_epochs=0")
    recipe = override(load_recipe("digits/demo"), *settings, "run.batch_size=40", "gate.name=se")
    return fit(recipe, tmp_path_factory.mktemp("runs") / "first", progress=False).out


def test_a_name_has_its_library_s_preprocessing_and_says_that_it_is_untrained():
    ours, timms, torchvisions = open_networks(["resnet20", "resnet18", "torchvision/resnet18"])
    assert (ours.image_px, ours.images.mean) == (32, (0.4914, 0.4822, 0.4465))
    assert (timms.image_px, timms.images.std) == (224, (0.229, 0.224, 0.225))
    assert (torchvisions.image_px, torchvisions.images.mean) == (224, (0.485, 0.456, 0.406))
    assert ours.title == "resnet20 (random weights)"
    assert not ours.model.training
    assert ours.class_name(3) == "class 3"


def test_random_weights_are_the_same_every_time():
    torch.manual_seed(1)
    one = open_networks(["resnet8"])[0].model.state_dict()
    drawn = torch.rand(1)
    other = open_networks(["resnet8"])[0].model.state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(1))


def test_a_run_has_its_own_statistics_classes_and_gate(run):
    (network,) = open_networks([str(run)])
    assert network.label == "resnet8 + se"
    assert network.classes == tuple("0123456789")
    assert (network.image_px, network.in_chans, network.card.is_random) == (8, 1, False)
    weights, _ = load_weights(run / WEIGHTS)
    state = network.model.state_dict()
    assert all(torch.equal(state[key], weights[key]) for key in weights)


def test_two_runs_of_one_recipe_are_told_apart(run, tmp_path):
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / WEIGHTS).write_bytes((run / WEIGHTS).read_bytes())
    networks = open_networks([str(run), str(tmp_path / "second" / WEIGHTS)])
    assert [network.label for network in networks] == [
        "resnet8 + se (first)",
        "resnet8 + se (second)",
    ]


def test_pixels_are_normalised_by_channel_and_greyed_for_one(run):
    (ours, grey) = open_networks(["resnet20", str(run)])
    picture = Image.new("RGB", (40, 40), (51, 51, 51))  # 0.2
    images = ours.images
    expected = [(0.2 - m) / s for m, s in zip(images.mean, images.std, strict=True)]
    x = ours.normalise(images.pixels(picture)[None])
    assert x[0, :, 5, 5].tolist() == pytest.approx(expected)
    x = grey.normalise(grey.images.pixels(picture)[None])
    assert x.shape == (1, 1, 8, 8)
    value = (0.2 - grey.images.mean[0]) / grey.images.std[0]
    assert float(x[0, 0, 0, 0]) == pytest.approx(value, abs=1e-3)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "give --model"),
        (["resnet9"], "unknown model 'resnet9'; did you mean"),
        (["resnet8", "resnet8"], "model 'resnet8' is given twice"),
        (["runs/nowhere"], "runs/nowhere: there is no such file or folder"),
        (["nowhere.safetensors"], "nowhere.safetensors: there is no such file"),
    ],
)
def test_what_cannot_be_opened(names, said):
    with pytest.raises(InputError, match=said):
        open_networks(names)


def test_a_folder_of_a_model_s_name_is_only_meant_with_its_path(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resnet8").symlink_to(run)
    (tmp_path / "mine").symlink_to(run)
    assert open_networks(["resnet8"])[0].card.is_random
    assert not open_networks(["./resnet8"])[0].card.is_random
    assert not open_networks(["mine"])[0].card.is_random


def test_a_size_that_the_network_cannot_take():
    with pytest.raises(InputError, match="image_px=-1"):
        open_networks(["resnet8"], image_px=-1)
    with pytest.raises(InputError, match=r"vit_tiny_patch16_224 cannot take pictures of 32 px \("):
        open_networks(["vit_tiny_patch16_224"], image_px=32)
    assert open_networks(["resnet8"], image_px=16)[0].image_px == 16
