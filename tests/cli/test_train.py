import io
import json
import tomllib
import zipfile

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from convgate.cli import app
from convgate.networks import open_network

SMALL = ("--set", "schedule.epochs=3", "--set", "data.train_count=200")

PAPER = ("--set", "gate.start=paper")  # a key of a section that --gate brings


def convgate(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_train_then_eval(tmp_path):
    trained = convgate("train", "digits/demo", "--out", tmp_path, "--gate", "eca", *SMALL, *PAPER)
    assert trained.exit_code == 0, trained.output
    assert tomllib.loads((tmp_path / "recipe.toml").read_text())["gate"]["start"] == "paper"
    assert "on 360 images  epochs 3" in trained.stdout
    assert "epoch 3/3" in trained.stderr
    scores = convgate("eval", tmp_path, "--json")
    assert scores.exit_code == 0, scores.output
    stored = json.loads((tmp_path / "result.json").read_text())
    assert json.loads(scores.stdout)["scores"] == stored["scores"]
    assert f"top-1 {stored['scores']['top1']:.2f} %" in convgate("eval", tmp_path).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("digits/dmeo",), "unknown recipe 'digits/dmeo'; did you mean 'digits/demo'?"),
        (("digits/demo", "--gate", "selm"), "unknown gate 'selm'; did you mean"),
        (("digits/demo", "--gate", "se,eca"), "`convgate study` compares them"),
        (("digits/demo", "--stages", "two", "--gate", "se"), "is no list of numbers"),
        (("digits/demo", "--start", "paper"), "--start: the recipe has no gate to place"),
        (("digits/demo", "--weights", "no.pth"), "no.pth: there is no such file"),
        (("digits/demo", "--model", "no.onnx"), "there is no such file or folder"),
        (("digits/demo", "--model", "resnet9"), "unknown model 'resnet9'; did you mean"),
        (("digits/demo", "--gate", "se", "--at", "block_edn"), "did you mean 'block_end'?"),
        (
            ("digits/demo", "--set", "run.sede=1"),
            "unknown key 'run.sede' (did you mean 'run.seed'?)",
        ),
        (("cifar10/study",), "cifar10"),
        (("cifar10/study", "--data", "nowhere"), "nowhere"),
    ],
)
def test_a_wrong_word_is_one_sentence_and_exit_code_2(tmp_path, words, said):
    result = convgate("train", *words, "--out", tmp_path / "run")
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_run_starts_from_another_and_is_prolonged(tmp_path):
    first = ("train", "digits/demo", "--gate", "se", "--stages", "2", "--start", "identity")
    short = ("--set", "data.train_count=100", "--set", "schedule.epochs=1", "--json")
    told = convgate(*first, "--set", "reduction=8", *short, "--out", tmp_path / "a")
    assert told.exit_code == 0, told.output
    result = json.loads(told.stdout)
    assert result["out"] == str(tmp_path / "a") and len(result["epochs"]) == 1
    table = tomllib.loads((tmp_path / "a" / "recipe.toml").read_text())
    assert table["gate"]["stages"] == [2] and table["gate"]["options"] == {"reduction": 8}
    assert table["schedule"]["warmup_epochs"] == 0  # 2 of 40 epochs do not fit into 1
    other = convgate(*first, "--set", "reduction=4", *short, "--out", tmp_path / "a")
    assert other.exit_code == 2 and "gate.options.reduction was 8, is 4" in other.stderr
    step = ("--set", "schedule.name=step", "--set", "schedule.milestones=[9]")
    begin = ("train", "digits/demo", "--model", tmp_path / "a", *step)
    for epochs in (1, 2):
        words = (*begin, *short, "--set", f"schedule.epochs={epochs}", "--out", tmp_path / "b")
        result = convgate(*words)
        assert result.exit_code == 0, result.output
        assert len(json.loads(result.stdout)["epochs"]) == epochs
    table = tomllib.loads((tmp_path / "b" / "recipe.toml").read_text())
    assert table["model"]["weights"] == str(tmp_path / "a" / "weights.safetensors")
    assert table["model"]["gates"] is True and "gate" not in table
    assert [gate.name for gate in open_network(tmp_path / "b").card.gates] == ["se"]


def test_eval_of_nothing(tmp_path):
    result = convgate("eval", tmp_path / "no")
    assert result.exit_code == 2
    assert "there is no such file or folder" in result.stderr


@pytest.fixture
def pedestrians(tmp_path):
    """Five pictures of 40 x 32 in the layout of Penn-Fudan, each with one bright rectangle."""
    path = tmp_path / "ped.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(5):
            mask = np.zeros((32, 40), np.uint8)
            mask[4:28, 5 + number : 25] = 1
            for name, pixels in (
                ("PNGImages/{}.png", mask[..., None] * np.uint8([200, 150, 90])),
                ("PedMasks/{}_mask.png", mask),
            ):
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, "PNG")
                archive.writestr(f"PennFudanPed/{name.format(number)}", buffer.getvalue())
    return path


TINY_DETECTOR = (
    "schedule.epochs=1", "schedule.warmup_epochs=0", "detector.options.min_size=64",
    "detector.options.max_size=64", "augment_objects.window_px=64", "run.batch_size=2",
    "data.workers=0",
)  # fmt: skip


def test_a_detector_from_the_command_line(pedestrians, tmp_path):
    changes = [word for setting in TINY_DETECTOR for word in ("--set", setting)]
    run = ("train", "pennfudan/yolox_nano", "--data", pedestrians, "--out", tmp_path / "run")
    trained = convgate(*run, *changes)
    assert trained.exit_code == 0, trained.output
    assert trained.stdout.startswith("box AP ") and "on 1 images  epochs 1" in trained.stdout
    assert "epoch 1/1" in trained.stderr and "box AP" in trained.stderr
    stored = json.loads((tmp_path / "run" / "result.json").read_text())
    scores = convgate("eval", tmp_path / "run", "--json")
    assert scores.exit_code == 0, scores.output
    assert json.loads(scores.stdout)["scores"] == stored["scores"]
    assert convgate("eval", tmp_path / "run").stdout.startswith("box AP ")
    Image.new("RGB", (50, 40), (200, 150, 90)).save(tmp_path / "street.png")
    words = ("predict", tmp_path / "street.png", "--model", tmp_path / "run")
    seen = convgate(*words, "--out", tmp_path / "seen", "--threshold", "0", "--json")
    assert seen.exit_code == 0, seen.output
    (picture,) = json.loads(seen.stdout)
    with Image.open(picture["drawing"]) as drawing:
        assert drawing.size == (50, 40)
    assert {thing["label"] for thing in picture["objects"]} <= {"pedestrian"}
    none = convgate(*words, "--threshold", "1.1")
    assert none.exit_code == 0 and "nothing" in none.stdout, none.output


def test_an_adapter_is_trained_scored_seen_and_exported(tmp_path):
    whole, tuned = tmp_path / "whole", tmp_path / "tuned"
    once = ("--set", "schedule.epochs=1", "--set", "schedule.warmup_epochs=0")
    assert convgate("train", "digits/demo", "--out", whole, *SMALL, *once).exit_code == 0
    base = ("--weights", whole / "weights.safetensors")
    parts = ("--set", 'trainable.parts=["head", "gates", "norms"]')
    words = ("train", "digits/demo", "--out", tuned, "--gate", "eca", *SMALL, *once, *parts)
    trained = convgate(*words, *base)
    assert trained.exit_code == 0, trained.output
    adapter = tuned / "adapter.safetensors"
    assert trained.stdout.splitlines()[1:] == [str(tuned / "weights.safetensors"), str(adapter)]
    scores = [convgate("eval", *ref, "--json") for ref in ((adapter, *base), (tuned,))]
    first, second = (json.loads(score.stdout)["scores"] for score in scores)
    assert first == second
    Image.new("L", (8, 8), 90).save(tmp_path / "photo.png")
    seen = convgate("predict", tmp_path / "photo.png", "--model", adapter, *base, "--json")
    assert seen.exit_code == 0, seen.output
    out = ("--format", "hub", "--out", tmp_path / "hub")
    assert convgate("export", adapter, *base, *out).exit_code == 0
    again = convgate("predict", tmp_path / "photo.png", "--model", tmp_path / "hub", "--json")
    classes = [json.loads(found.stdout)[0]["classes"][0]["label"] for found in (seen, again)]
    assert classes[0] == classes[1]
    refused = convgate("predict", tmp_path / "photo.png", "--model", adapter)
    assert refused.exit_code == 2 and "give them with --weights FILE" in refused.stderr


def test_a_network_that_is_not_there():
    refused = convgate("predict", "a.png", "--model", "net.onnx")
    assert refused.exit_code == 2 and "there is no such file or folder" in refused.stderr


def test_faulty_annotations_are_one_sentence_and_exit_code_2(pedestrians, tmp_path):
    with zipfile.ZipFile(pedestrians, "a") as archive:
        archive.writestr("PennFudanPed/PNGImages/lone.png", b"")
    run = ("train", "pennfudan/yolox_nano", "--data", pedestrians, "--out", tmp_path / "run")
    refused = convgate(*run)
    assert refused.exit_code == 2, refused.output
    assert "1 fault" in refused.stderr and "lone.png" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    changes = [word for setting in TINY_DETECTOR for word in ("--set", setting)]
    trained = convgate(*run, "--skip-bad", *changes)
    assert trained.exit_code == 0, trained.output
    assert "left out as faulty: 1" in trained.stdout
