"""`convgate eval` and `convgate predict` over everything that can be opened."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from convgate.cli import app
from convgate.deploy import export
from convgate.networks import (
    Card,
    DetectorSpec,
    GateSpec,
    Preprocessing,
    gates_of,
    open_network,
    save_hub,
    save_network,
)
from convgate.networks.build import build_network
from convgate.pictures.decoding import decode

CLASSES = ("cat", "dog", "fox")


def convgate(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def seen(*words):
    told = convgate("predict", *words, "--json")
    assert told.exit_code == 0, told.output
    return json.loads(told.stdout)


@pytest.fixture
def tree(make_tree):
    return make_tree(train=1, val=3, size=(32, 32))


@pytest.fixture
def network():
    """A gated classifier of three classes that counts as trained."""
    opened = open_network("resnet8")
    card = replace(opened.card, options={"num_classes": 3}, classes=CLASSES, weights="drawn")
    model = build_network(card, gates=[GateSpec(name="se")]).eval()
    return replace(opened, model=model, card=replace(card, gates=gates_of(model)))


@pytest.fixture
def file(network, tmp_path):
    path = tmp_path / "net.safetensors"
    save_network(path, network.model.state_dict(), network.card)
    return path


def counted(network, tree):
    """Count by hand how often the first answer is right."""
    right = 0
    for label, name in enumerate(CLASSES):
        for path in (tree / "val" / name).iterdir():
            x = network.images.tensor(decode(path.read_bytes(), str(path)))
            with torch.no_grad():
                right += int(network.model(x[None]).argmax()) == label
    return round(100 * right / 9, 4)


def test_a_file_a_hub_folder_and_an_exported_file_score_alike(network, file, tree, tmp_path):
    save_hub(network.model, network.card, tmp_path / "hub")
    export(file, "onnx", tmp_path / "net.onnx")
    for model in (file, tmp_path / "hub", tmp_path / "net.onnx"):
        told = convgate("eval", model, "--data", tree, "--json")
        assert told.exit_code == 0, told.output
        found = json.loads(told.stdout)
        assert (found["scores"]["top1"], found["images"]) == (counted(network, tree), 9)
    assert "on 9 images" in convgate("eval", tmp_path / "net.onnx", "--data", tree).stdout


def test_a_name_is_scored_with_weights(network, tree, tmp_path):
    model = open_network("resnet18").model
    torch.save(model.state_dict(), tmp_path / "r18.pth")
    for name in ("n02123045", "n02085620"):  # synsets of ImageNet
        (tree / "val" / name).mkdir()
        Image.new("RGB", (40, 40), (90, 60, 30)).save(tree / "val" / name / "a.png")
    told = convgate("eval", "resnet18", "--weights", tmp_path / "r18.pth", "--data", tree)
    assert told.exit_code == 0 and "on 2 images" in told.stdout, told.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("resnet8", "--data", "TREE"), "resnet8: its weights are random, so"),
        (("FILE",), "has no recipe that says what to score it on; give --data"),
        (("FILE", "--pretrained", "--data", "TREE"), "has its own weights; do without"),
        (("FILE", "--data", "no.zip"), "no.zip"),
        (("no.onnx", "--data", "TREE"), "no.onnx: there is no such file"),
        (("TREE",), "is a folder without weights.safetensors"),
        (("photo.png",), "there is no such file or folder"),
    ],
)
def test_what_cannot_be_scored_is_one_sentence(file, tree, words, said):
    places = {"FILE": file, "TREE": tree}
    told = convgate("eval", *(places.get(word, word) for word in words))
    assert told.exit_code == 2, told.output
    assert said in told.stderr and told.stderr.count("\n") == 1


def test_a_folder_and_an_archive_are_pictures(file, tree, make_zip):
    alone = seen(*sorted(tree.rglob("*.png")), "--model", file)
    assert len(alone) == 12
    for place in (tree, make_zip(tree)):
        found = seen(place, "--model", file)
        assert [picture["classes"] for picture in found] == [p["classes"] for p in alone]
        assert all(picture["image"].startswith(f"{place}/") for picture in found)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("no", "--model", "FILE"), "no: no such folder, zip archive or picture"),
        (("EMPTY", "--model", "FILE"), "holds no picture"),
        (("TREE", "--model", "resnet8"), "resnet8: its weights are random, so"),
        (("TREE", "--model", "FILE", "--out", "seen"), "a classifier draws nothing"),
        (("TREE", "--model", "TREE"), "is a folder without weights.safetensors"),
    ],
)
def test_what_cannot_be_predicted_is_one_sentence(file, tree, tmp_path, words, said):
    (tmp_path / "empty").mkdir()
    places = {"FILE": file, "TREE": tree, "EMPTY": tmp_path / "empty"}
    told = convgate("predict", *(places.get(word, word) for word in words))
    assert told.exit_code == 2, told.output
    assert said in told.stderr and told.stderr.count("\n") == 1


def test_an_exported_file_has_its_own_weights(network, file, tree, tmp_path):
    export(file, "onnx", tmp_path / "net.onnx")
    told = convgate("predict", tree, "--model", tmp_path / "net.onnx", "--pretrained")
    assert told.exit_code == 2 and "net.onnx: holds its own weights" in told.stderr


def test_drawings_are_named_and_kept(tree, tmp_path):
    images = Preprocessing(input_size=(3, 32, 32), mean=(0,) * 3, std=(1,) * 3, resize="shrink")
    card = Card(
        task="segment", model="resnet10t", detector=DetectorSpec(name="deeplabv3"),
        classes=CLASSES, weights="drawn", images=images,
    )  # fmt: skip
    save_network(tmp_path / "seg.safetensors", build_network(card).state_dict(), card)
    pictures = sorted((tree / "val" / "cat").iterdir())
    words = ("predict", *pictures, "--model", tmp_path / "seg.safetensors", "--out", tmp_path / "s")
    told = convgate(*words)
    assert told.exit_code == 0, told.output
    drawn = [str(tmp_path / "s" / path.name) for path in pictures]
    assert told.stdout.splitlines()[-3:] == drawn
    again = convgate(*words)
    assert again.exit_code == 2 and "exists already; choose another" in again.stderr
    assert convgate(*words, "--force").exit_code == 0
