"""The verb from the words to the files: what is printed, what is written, what is refused."""

import csv
import json
import sys
from dataclasses import replace

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from convgate.cli import app
from convgate.insertion import insert
from convgate.models import create_model
from convgate.networks import (
    DetectorSpec,
    build_network,
    gates_of,
    open_network,
    save_hub,
    save_network,
)


def convgate(*words):
    return CliRunner().invoke(app, ["view", *map(str, words)])


@pytest.fixture
def photos(tmp_path):
    for name, shade in (("cat", 40), ("dog", 160)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(2):
            Image.effect_noise((36, 30), shade + i).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_diversity(tmp_path, photos):
    out = tmp_path / "d.svg"
    models = ("--model", "resnet8", "--model", "selnext_atto")
    ran = convgate("diversity", *models, "--data", photos, "--out", out, "--batch", 3)
    assert ran.exit_code == 0, ran.output
    assert "(random" in ran.stdout  # weights: the cell folds
    assert ran.stdout.splitlines()[-2:] == [str(out), str(out.with_suffix(".csv"))]
    assert max(map(len, ran.stdout.splitlines())) <= 80
    rows = rows_of(out.with_suffix(".csv"))
    assert [row["model"] for row in rows] == ["resnet8"] * 3 + ["selnext_atto"] * 12
    assert {row["images"] for row in rows} == {"4"}
    printed = convgate(
        "diversity", *models, "--data", photos, "--out", out, "--force", "--json"
    ).stdout
    expected = [pytest.approx(float(row["distance"]), abs=1e-6) for row in rows]
    assert [row["distance"] for row in json.loads(printed)] == expected


def test_scales(tmp_path, photos, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # only maps need it, for their colours
    out = tmp_path / "s.png"
    words = (photos, "--model", "selnext_atto", "--out", out, "--layers", "stages.0.*")
    ran = convgate("scales", *words, "--class", "dog")
    assert ran.exit_code == 0, ran.output
    assert max(map(len, ran.stdout.splitlines())) <= 80
    rows = rows_of(out.with_suffix(".csv"))
    widths = (64, 128, 256, 512)
    assert len(rows) == sum(n * c for n, c in zip((2, 2, 6, 2), widths, strict=True))
    printed = convgate("scales", *words, "--force", "--json").stdout
    assert len(json.loads(printed)) == len(rows)


@pytest.mark.parametrize("extra", [(), ("--layers", "2"), ("--dark", "--class", "3")])
def test_cam(tmp_path, photos, extra):
    out = tmp_path / "c.png"
    models = ("--model", "resnet8", "--model", "selnext_atto")
    ran = convgate("cam", photos, "--images", 2, *models, "--out", out, *extra)
    assert ran.exit_code == 0, ran.output
    assert "cat/0.png" in ran.stdout and "dog/0.png" in ran.stdout
    with Image.open(out) as picture:
        dark = sum(picture.convert("RGB").getpixel((0, 0))) < 200
    assert dark == ("--dark" in extra)
    assert len(rows_of(out.with_suffix(".csv"))) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cam", "PHOTOS", "--model", "resnet8", "--method", "gradcan"), "did you mean 'gradcam'?"),
        (("cam", "PHOTOS", "--model", "resnet8", "--class", "10"), "give 0 to 9"),
        (("cam", "PHOTOS", "--model", "resnet8", "--class", "-1"), "give 0 to 9"),
        (("cam", "PHOTOS", "--model", "resnet8", "--layers", "lay"), "unknown layer 'lay'"),
        (("cam", "PHOTOS", "--model", "resnet8", "--layers", "9"), "maps of 3 sizes"),
        (("cam", "notes.txt", "--model", "resnet8"), "cannot be read as an image"),
        (("cam", "empty", "--model", "resnet8"), "holds no picture"),
        (("cam", "nowhere.png", "--model", "resnet8"), "nowhere.png"),
        (("cam", "PHOTOS", "--model", "resnet9"), "unknown model 'resnet9'"),
        (("scales", "PHOTOS", "--model", "resnet8"), "has no gate to look at"),
        (("scales", "PHOTOS", "--model", "selnext_atto", "--class", "cta"), "did you mean 'cat'?"),
        (("scales", "PHOTOS", "--model", "selnext_atto", "--layers", "x"), "unknown gated layer"),
        (("diversity", "--data", "PHOTOS", "--model", "resnet8", "--layers", "x"), "unknown layer"),
        (("diversity", "--data", "nowhere", "--model", "resnet8"), "nowhere"),
        (("diversity", "--data", "PHOTOS", "--model", "resnet8", "--out", "a.gif"), "'gif'"),
        (("diversity", "--data", "PHOTOS", "--model", "resnet8", "--device", "tpu9"), "tpu9"),
    ],
)
def test_bad_words_are_one_sentence_and_write_nothing(tmp_path, photos, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    ran = convgate(*(str(photos) if word == "PHOTOS" else word for word in words))
    assert ran.exit_code == 2, ran.output
    assert said in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("taken", ["d.svg", "d.csv"])
def test_what_stands_there_is_replaced_only_by_force(tmp_path, photos, taken, monkeypatch):
    (tmp_path / taken).write_text("mine")
    words = ("diversity", "--model", "resnet8", "--data", photos, "--out", tmp_path / "d.svg")
    with monkeypatch.context() as patch:  # it is said before the work
        patch.setattr("convgate.networks.open_networks", None)
        ran = convgate(*words)
    assert ran.exit_code == 2 and f"{taken}: exists already" in ran.stderr
    assert (tmp_path / taken).read_text() == "mine"
    assert len(list(tmp_path.glob("d.*"))) == 1
    ran = convgate(*words, "--force", "--json")
    assert ran.exit_code == 0 and (tmp_path / taken).read_text() != "mine"
    assert ran.stderr.splitlines() == [str(tmp_path / name) for name in ("d.svg", "d.csv")]


def test_a_class_of_a_network_by_its_word_finds_the_synset_s_folder(tmp_path, photos):
    (photos / "cat").rename(photos / "n02123045")  # ImageNet's tabby
    torch.manual_seed(0)
    weights = tmp_path / "w.pth"
    torch.save(create_model("mobilenetv3_small_050").state_dict(), weights)
    words = ("--model", "mobilenetv3_small_050", "--weights", weights, "--image-px", 32)
    for name in ("tabby", "n02123045"):
        ran = convgate("scales", photos, *words, "--class", name, "--out", tmp_path / f"{name}.svg")
        assert ran.exit_code == 0, ran.output
    ran = convgate("cam", photos / "dog", *words, "--class", "tabby", "--out", tmp_path / "c.png")
    assert ran.exit_code == 0, ran.output
    assert {row["map_of"] for row in rows_of(tmp_path / "c.csv")} == {"tabby, tabby cat"}


def test_weights_of_insert_and_hub_folders_are_networks_too(tmp_path, photos):
    network = open_network("resnet8")
    insert(network.model, "se", start="paper")
    card = replace(network.card, gates=gates_of(network.model))
    save_network(tmp_path / "gated.safetensors", network.model.state_dict(), card)
    plain = open_network("test_resnet")
    hub = tmp_path / "hub"
    save_hub(plain.model, plain.card, hub)
    models = ("--model", tmp_path / "gated.safetensors", "--model", hub, "--model", "resnet8")
    ran = convgate("cam", photos, *models, "--images", 1, "--out", tmp_path / "c.png")
    assert ran.exit_code == 0, ran.output
    rows = rows_of(tmp_path / "c.csv")
    assert [row["model"] for row in rows] == ["resnet8 + se", "test_resnet", "resnet8"]
    assert {row["weights"] for row in rows} == {"random"}
    assert ran.stdout.count("(random") == 3


def test_a_detector_is_refused_before_the_work(tmp_path, photos):
    card = replace(open_network("resnet8").card, task="detect", classes=("cat",))
    card = replace(card, detector=DetectorSpec(name="retinanet"))
    path = tmp_path / "detector.safetensors"
    save_network(path, build_network(card).state_dict(), card)
    for words in (("scales", photos), ("diversity", "--data", photos), ("cam", photos)):
        ran = convgate(*words, "--model", path, "--out", tmp_path / "a.svg")
        assert ran.exit_code == 2
        assert "is made to detect, and view takes networks that classify" in ran.stderr


def test_ctrl_c_writes_nothing(tmp_path, photos, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("convgate.view.diversity.feature_distances", stop)
    out = tmp_path / "d.svg"
    ran = convgate("diversity", "--model", "resnet8", "--data", photos, "--out", out)
    assert ran.exit_code == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]
