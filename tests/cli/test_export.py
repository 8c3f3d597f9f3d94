"""`convgate export` and `convgate predict`: the files, what is said, and clear refusals."""

import json
import sys

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from convgate.cli import app
from convgate.models import create_model


def run(*words):
    return CliRunner().invoke(app, list(map(str, words)))


@pytest.fixture
def hub(tmp_path):
    """A hub folder, and a picture beside it."""
    Image.new("RGB", (40, 40), (200, 30, 60)).save(tmp_path / "red.png")
    torch.save(create_model("resnet8").state_dict(), tmp_path / "own.pth")
    words = ("--format", "hub", "--out", tmp_path / "hub")
    done = run("export", "resnet8", "--weights", tmp_path / "own.pth", *words)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].split() == ["network", "resnet8"]
    assert ["weights", "own.pth"] in [line.split() for line in lines]
    assert lines[-1] == str(tmp_path / "hub")
    return tmp_path / "hub"


def test_a_hub_folder_goes_on_to_onnx_and_both_predict_alike(hub, tmp_path):
    out = tmp_path / "net.onnx"
    done = run("export", hub, "--format", "onnx", "--out", out)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    cells = [line.split(maxsplit=1) for line in lines]
    assert ["weights", "own.pth"] in cells and ["dtype", "float32"] in cells
    assert ["images", "3x32x32 or another size; any batch"] in cells
    assert lines[-1] == str(out)
    assert max(map(len, lines[:-1])) <= 80
    answers = []
    for model in (hub, out):
        told = run("predict", tmp_path / "red.png", "--model", model, "--json")
        assert told.exit_code == 0, told.output
        answers.append([guess["label"] for guess in json.loads(told.stdout)[0]["classes"]])
    assert answers[0] == answers[1]
    assert len(answers[0]) == 5


def test_another_size_and_a_file_that_is_there(hub, tmp_path):
    out = tmp_path / "net.onnx"
    out.write_text("a photo")
    words = ("export", hub, "--format", "onnx", "--image-px", "40", "--out", out)
    done = run(*words)
    assert (done.exit_code, out.read_text()) == (2, "a photo")
    assert "exists already" in done.stderr
    done = run(*words, "--force")
    assert done.exit_code == 0, done.output
    assert "3x40x40 or another size" in done.output


def test_the_table_of_predictions(hub, tmp_path):
    told = run("predict", tmp_path / "red.png", tmp_path / "red.png", "--model", hub)
    assert told.exit_code == 0, told.output
    lines = [line for line in told.output.splitlines() if "%" in line]
    assert len(lines) == 10
    assert sum("red.png" in line for line in lines) == 2
    assert max(map(len, told.output.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--format", "onxn"], "unknown format 'onxn'; did you mean 'onnx'?"),
        (["--format", "hub", "--dtype", "float16"], "do without options"),
        (["--format", "onnx", "--dtype", "int8"], "have no int8"),
        (["--format", "openvino"], "ends in .xml"),
        (["--format", "onnx", "--weights", "none.pth"], "there is no such file"),
        (["--format", "onnx", "--calibrate", "none"], "no such folder or zip"),
    ],
)
def test_bad_words_are_one_sentence(words, sentence, tmp_path):
    done = run("export", "resnet8", "--out", tmp_path / "net.onnx", *words)
    assert done.exit_code == 2
    assert sentence in done.output
    assert "Traceback" not in done.output
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_another_model(tmp_path):
    torch.save(create_model("resnet20").state_dict(), tmp_path / "other.pth")
    words = ("--format", "onnx", "--out", tmp_path / "net.onnx")
    done = run("export", "resnet8", "--weights", tmp_path / "other.pth", *words)
    assert done.exit_code == 2
    assert "it is not one of this" in done.output


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("export", ["resnet8", "--format", "onnx", "--out", "net.onnx"]),
        ("measure", ["resnet8", "--engine", "onnxruntime"]),
        ("table", ["ean.3", "--latency", "--engine", "openvino"]),
        ("study", ["digits/demo", "--out", "study", "--engine", "openvino"]),
    ],
)
def test_a_missing_package_names_its_extra(verb, words, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for package in ("onnx", "onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, package, None)
    done = run(verb, *words)
    assert done.exit_code == 2
    assert "pip install 'convgate[" in done.output
    assert not list(tmp_path.iterdir())


def test_measure_on_an_engine():
    fast = ("--image-px", "32", "--seconds", "0.3", "--threads", "1")
    done = run("measure", "resnet8", "--engine", "onnxruntime", *fast)
    assert done.exit_code == 0, done.output
    assert "engine onnxruntime" in done.output
    done = run("measure", "resnet8", "--engine", "onnxruntime", "--dtype", "bfloat16", *fast)
    assert done.exit_code == 2
    assert "engine 'onnxruntime' has no bfloat16 here" in done.output
