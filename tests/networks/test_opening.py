"""Whatever can be shipped opens as the network it was, with what is known of it."""

import json

import pytest
import safetensors.torch
import torch

from convgate.cli.graft import Graft, save
from convgate.deploy import open_source
from convgate.errors import CorruptFile, InputError
from convgate.insertion import insert
from convgate.models import create_model
from convgate.storage import WEIGHTS
from convgate.train.fit import fit


def test_a_run_by_its_folder_or_its_weights(run):
    folder, model = run
    x = torch.randn(2, 1, 8, 8)
    for place in (folder, folder / WEIGHTS):
        source = open_source(str(place))
        assert torch.equal(source.model(x), model(x))
    about = source.about
    assert (about.gate.name, about.classes[3], about.options["in_chans"]) == ("se", "3", 1)
    assert (about.images.mean, about.images.std) == ((0.3,), (0.4,))
    assert (about.images.input_size, about.images.resize) == ((1, 8, 8), "square")


def test_a_run_that_notes_no_mean_is_asked_for_its_data(run):
    """As runs before it was noted: the training pictures are measured again, never guessed."""
    folder, _ = run
    with safetensors.safe_open(folder / WEIGHTS, "pt") as file:
        told = file.metadata()
    weights = safetensors.torch.load_file(folder / WEIGHTS)
    kept = {key: value for key, value in told.items() if key not in ("mean", "std")}
    safetensors.torch.save_file(weights, folder / WEIGHTS, kept)
    images = open_source(str(folder)).about.images
    from sklearn.datasets import load_digits

    assert images.mean[0] == pytest.approx(load_digits().images.mean() / 16, abs=0.01)


def test_a_fresh_run_notes_its_mean(tmp_path):
    from convgate.train.recipe import load_recipe, override

    tiny = ("data.train_count=100", "schedule.epochs=1", "schedule.warmup_epochs=0")
    fit(override(load_recipe("digits/demo"), *tiny), tmp_path / "run", progress=False)
    with safetensors.safe_open(tmp_path / "run" / WEIGHTS, "pt") as file:
        mean, std = (json.loads(file.metadata()[key]) for key in ("mean", "std"))
    assert 0.2 < mean[0] < 0.4 < 1.5 * std[0]
    assert open_source(str(tmp_path / "run")).about.images.mean == tuple(mean)


def test_a_file_of_convgate_insert(tmp_path):
    model = create_model("resnet8").eval()
    insert(model, "seln", stages=[2, 3], start="paper", reduction=8)
    wanted = Graft("resnet8", "seln", "block_end", (2, 3), "paper", {"reduction": 8})
    save(tmp_path / "gated.safetensors", model, wanted)
    source = open_source(str(tmp_path / "gated.safetensors"))
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(source.model(x), model(x))
    assert source.about.gate.stages == (2, 3)
    assert source.about.images.input_size == (3, 32, 32)


def test_a_name_and_a_checkpoint(tmp_path):
    model = create_model("resnet8").eval()
    torch.save(model.state_dict(), tmp_path / "net.pth")
    source = open_source("resnet8", weights=tmp_path / "net.pth")
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(source.model(x), model(x))
    assert source.about.weights == "net.pth"
    assert (source.about.classes, open_source("resnet8").about.weights) == ((), "random")
    assert open_source("torchvision/resnet18").about.images.crop_pct == 224 / 256


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("./nothing", "there is no such file or folder"),
        ("net.onnx", "there is no such file or folder"),
        ("resnet88", "unknown model 'resnet88'"),
    ],
)
def test_what_is_nowhere(name, sentence):
    with pytest.raises(InputError, match=sentence):
        open_source(name)


def test_folders_and_files_of_another_kind(tmp_path, run):
    with pytest.raises(InputError, match="not a run; it holds no"):
        open_source(str(tmp_path))
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(CorruptFile, match="truncated or not a safetensors file"):
        open_source(str(tmp_path / "x.safetensors"))
    with pytest.raises(InputError, match="has its own weights"):
        open_source(str(run[0]), pretrained=True)
    plain = {"w": torch.zeros(1)}
    told = {"format": "convgate", "insert": "[]"}
    safetensors.torch.save_file(plain, tmp_path / "y.safetensors", told)
    with pytest.raises(CorruptFile, match="its description is damaged"):
        open_source(str(tmp_path / "y.safetensors"))
