"""`convgate ls`: every list as a table of 80 columns and as JSON."""

import json

import pytest
from typer.testing import CliRunner

from convgate.cli.ls import summary
from convgate.cli.main import app
from convgate.gates import create_gate, list_gates
from convgate.networks import Card, DetectorSpec, build_network, save_network
from fixtures.shipped import IMAGES


@pytest.fixture
def ls(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def run(*words):
        result = CliRunner().invoke(app, ["ls", *words])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return run


def table(result):
    """The lines under the rule of a table, which must fit."""
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    rule = next(i for i, line in enumerate(lines) if "──" in line)
    return [line.split() for line in lines[rule + 1 :] if line.strip()]


def test_gates(ls):
    rows = json.loads(ls("gates", "--json").stdout)
    assert [row["gate"] for row in rows] == list_gates()
    seln = next(row for row in rows if row["gate"] == "seln")
    assert seln["parameters"] == 256 * 16 + 16 + 16 * 256 + 256 + 2 * 256
    assert seln["options"].items() >= {"reduction": 16, "eps": 1e-5}.items()
    assert all(row["what it does"] for row in rows)
    firsts = {line[0] for line in table(ls("gates"))}
    assert set(list_gates()) <= firsts


def test_options_are_those_of_create_gate(ls):
    for row in json.loads(ls("gates", "--json").stdout):
        create_gate(row["gate"], 256, **row["options"])


def test_models(ls):
    assert json.loads(ls("models", "resnet2[0]", "--json").stdout) == [
        {"model": "resnet20", "from": "convgate"}
    ]
    assert ["torchvision/resnet50", "torchvision"] in table(ls("models", "resnet50"))


def test_unknown_model_is_one_sentence(ls):
    for words in (["models", "selnext_tinny"], ["sites", "selnext_tinny"]):
        result = ls(*words)
        assert result.exit_code == 2
        assert result.stderr == (
            "convgate: unknown model 'selnext_tinny'; did you mean 'selnext_tiny'?\n"
        )


def test_sites(ls):
    every = json.loads(ls("sites", "resnet8", "--json").stdout)
    ends = [site for site in every if site["name"] == "block_end"]
    assert [(site["stage"], site["channels"]) for site in ends] == [(1, 16), (2, 32), (3, 64)]
    assert [site["path"] for site in ends] == ["layer1.0.bn2", "layer2.0.bn2", "layer3.0.bn2"]
    assert len(table(ls("sites", "resnet8", "--all"))) >= len(every)
    assert ["block_end", "3", "1", "64"] in table(ls("sites", "resnet8"))


def test_sites_of_what_was_trained_and_of_a_detector(ls, run, tmp_path):
    folder, _ = run
    assert ["block_end", "3", "1", "64"] in table(ls("sites", str(folder)))
    card = Card(
        task="detect",
        model="resnet18",
        detector=DetectorSpec(name="retinanet"),
        classes=("cat", "dog"),
        images=IMAGES,
    )
    save_network(tmp_path / "net.safetensors", build_network(card).state_dict(), card)
    assert ["block_end", "4", "2", "512"] in table(ls("sites", str(tmp_path / "net.safetensors")))


def test_summary_counts_by_name_and_stage():
    rows = [
        {"name": "spatial", "stage": 1, "channels": width, "path": ""} for width in (64, 128, 64)
    ]
    rows.append({"name": "stem_end", "stage": None, "channels": 64, "path": ""})
    assert summary(rows) == [
        {"site": "spatial", "stage": 1, "count": 3, "channels": "64, 128"},
        {"site": "stem_end", "stage": None, "count": 1, "channels": "64"},
    ]


def test_recipes(ls):
    rows = json.loads(ls("recipes", "--json").stdout)
    demo = next(row for row in rows if row["recipe"] == "digits/demo")
    assert demo["data"] == "digits"
    assert {line[0] for line in table(ls("recipes"))} >= {"digits/demo"}


def test_data(ls):
    names = [row["data"] for row in json.loads(ls("data", "--json").stdout)]
    assert {"digits", "cifar10", "cifar100", "flowers102", "imagenet"} <= set(names)
    assert [line[0] for line in table(ls("data"))] == names


def test_detectors(ls):
    rows = {row["detector"]: row for row in json.loads(ls("detectors", "--json").stdout)}
    assert rows["mask_rcnn"]["task"] == "detect" and rows["deeplabv3"]["task"] == "segment"
    assert "min_size" in rows["mask_rcnn"]["options"]
    assert "num_classes" not in rows["mask_rcnn"]["options"]
    assert all(len(line) <= 80 for line in ls("detectors").stdout.splitlines())
