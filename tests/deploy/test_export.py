"""Files of both formats: the same network, described, checked, and nothing else left behind."""

import json
import os
import shutil
import sys
from dataclasses import replace
from functools import cache

import numpy
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

from convgate.deploy import Predictor, calibration_images, export, open_predictor, predict
from convgate.deploy.export import has_fixed_size
from convgate.errors import CorruptFile, InputError
from convgate.models import create_model
from convgate.networks import Card, Network, open_labelled, open_network
from convgate.networks.preprocessing import of_timm

X = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(1))
FILE = {"onnx": "net.onnx", "openvino": "net.xml"}
FORMS = list(FILE)


def network(card, model):
    return Network(model, card, "net", card.name)


@pytest.fixture(scope="module")
def exported_once(small, tmp_path_factory):
    """A gated network, and what exports it; each form and dtype is exported once."""
    card, model = small("se", reduction=4)

    @cache
    def exports(form, dtype="float32"):
        out = tmp_path_factory.mktemp(form) / FILE[form]
        return export(network(card, model), form, out, dtype=dtype)

    return card, model, exports


@pytest.fixture
def copied(exported_once, tmp_path):
    """What copies an exported network into a folder of the test's own."""

    def copy(form):
        for path in exported_once[2](form).files:
            shutil.copy(path, tmp_path)
        return tmp_path / FILE[form]

    return copy


@pytest.fixture
def tiny(small):
    """The smallest network that can be exported, which a second does."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    return network(Card(model="tiny", images=small()[0].images), model)


@pytest.fixture
def pictures(tmp_path):
    """Forty pictures in folders named after two classes, of one colour each."""
    for name, colour in (("class a", 40), ("class b", 200)):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for number in range(20):
            shade = numpy.full((36, 36, 3), colour + number, dtype=numpy.uint8)
            Image.fromarray(shade).save(folder / f"{number}.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize("form", FORMS)
def test_a_file_is_the_network_and_says_what_it_is(exported_once, form, picture):
    card, model, exports = exported_once
    exported = exports(form)
    out = exported.files[-1]
    assert exported.difference < 1e-5
    assert sorted(os.listdir(out.parent)) == sorted(path.name for path in exported.files)
    opened = open_predictor(out)
    with torch.no_grad():
        torch.testing.assert_close(opened.run(X), model(X), rtol=1e-4, atol=1e-5)
    assert opened.card == exported.card
    assert (opened.card.classes, opened.card.images) == (card.classes, card.images)
    assert opened.card.gates[0].options == {"reduction": 4}
    assert opened.card.versions["torch"] == torch.__version__.partition("+")[0]
    assert any(line.startswith("norm into") for line in opened.card.folded)
    (eager,), (graph,) = (
        predict(Predictor(run, card, "net"), [picture]) for run in (model, opened.run)
    )
    assert [guess.label for guess in eager.classes] == [guess.label for guess in graph.classes]


def test_anybody_can_read_the_description_of_an_onnx_file(exported_once):
    card, _, exports = exported_once
    session = onnxruntime.InferenceSession(exports("onnx").files[0])
    found = json.loads(session.get_modelmeta().custom_metadata_map["convgate"])
    assert found["classes"] == list(card.classes)
    assert found["images"]["mean"] == [0.5, 0.4, 0.3]
    assert found["command"] and found["versions"]["onnx"]


@pytest.mark.parametrize("form", FORMS)
def test_float16_is_smaller_and_close(exported_once, form):
    sizes = []
    for dtype in ("float32", "float16"):
        exported = exported_once[2](form, dtype)
        sizes.append(sum(path.stat().st_size for path in exported.files))
    assert exported.largest < 65504
    assert 1e-6 < exported.difference < 2e-2
    assert sizes[1] < 0.8 * sizes[0]


def test_float16_is_refused_where_a_number_does_not_fit(small, tmp_path):
    card, model = small()
    with torch.no_grad():
        model.bn1.weight.mul_(1e6)
    with pytest.raises(InputError, match="65504 that float16 holds"):
        export(network(card, model), "onnx", tmp_path / "net.onnx", dtype="float16")
    assert not os.listdir(tmp_path)


def test_int8_states_the_accuracy_before_and_after(small, tmp_path, pictures):
    card, model = small("se", reduction=4)
    exported = export(
        network(card, model),
        "openvino",
        tmp_path / "net.xml",
        dtype="int8",
        calibration=pictures,
        validation=str(pictures),
    )
    assert exported.difference > 1e-4  # it does round
    scores = open_predictor(tmp_path / "net.xml").card.scores
    assert scores == exported.card.scores
    assert scores["images"] == 40
    right = 0
    for path in pictures.rglob("*.png"):
        x = card.images.batch([path])
        right += card.classes[int(model(x).argmax())] == path.parent.name
    assert scores["top1_eager"] == pytest.approx(100 * right / 40)
    assert abs(scores["top1_int8"] - scores["top1_eager"]) <= 10
    assert f"{scores['top1_eager']:.2f} % eager" in str(exported)


def test_too_few_pictures_for_int8(small, tmp_path, pictures):
    card, model = small()
    for path in list(pictures.rglob("*.png"))[:20]:
        path.unlink()
    with pytest.raises(InputError, match=r"holds 20 pictures, too few .* at least 32"):
        calibration_images(pictures, card.images)
    with pytest.raises(InputError, match="takes its ranges from pictures"):
        export(network(card, model), "openvino", tmp_path / "net.xml", dtype="int8")
    with pytest.raises(InputError, match="no class names"):
        open_labelled(pictures, Card(model="resnet8"))
    with pytest.raises(InputError, match="in a folder named after a class, such as 'cat'"):
        open_labelled(pictures, Card(model="resnet8", classes=("cat",)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("existed", [False, True])
def test_a_mismatch_leaves_no_file_and_no_old_one_changed(
    tiny, tmp_path, monkeypatch, form, existed
):
    out = tmp_path / FILE[form]
    if existed:
        out.write_text("old")
    monkeypatch.setattr("convgate.deploy.verify.relative_difference", lambda *_: 0.5)
    with pytest.raises(InputError, match="nothing is written"):
        export(tiny, form, out, force=existed)
    assert os.listdir(tmp_path) == ([out.name] if existed else [])
    assert not existed or out.read_text() == "old"


@pytest.mark.parametrize(
    ("form", "there"), [("onnx", "net.onnx"), ("openvino", "net.xml"), ("openvino", "net.bin")]
)
def test_what_is_there_is_replaced_by_force_alone(tiny, tmp_path, form, there):
    (tmp_path / there).write_text("a photo of ours")
    with pytest.raises(InputError, match=rf"{there}: exists already; .* --force"):
        export(tiny, form, tmp_path / FILE[form])
    assert os.listdir(tmp_path) == [there]
    assert (tmp_path / there).read_text() == "a photo of ours"
    exported = export(tiny, form, tmp_path / FILE[form], force=True)
    assert sorted(os.listdir(tmp_path)) == sorted(path.name for path in exported.files)
    torch.testing.assert_close(open_predictor(tmp_path / FILE[form]).run(X), tiny.model(X))


def test_a_network_goes_by_its_name_to_a_hub_folder_and_on(tmp_path):
    hub = export("resnet8", "hub", tmp_path / "hub")
    assert hub.files == (tmp_path / "hub",)
    assert open_network(tmp_path / "hub").card == hub.card
    with pytest.raises(InputError, match="exists already"):
        export("resnet8", "hub", tmp_path / "hub", force=True)
    with pytest.raises(InputError, match="float32 weights as they are"):
        export("resnet8", "hub", tmp_path / "other", dtype="float16")
    with pytest.raises(InputError, match="did you mean 'onnx'"):
        export(tmp_path / "hub", "onxn", tmp_path / "net.onnx")


def test_an_export_is_read_and_stored(exported_once):
    card, _, exports = exported_once
    exported = exports("openvino", "float16")
    lines = str(exported).splitlines()
    assert lines[0].split() == ["network", *card.name.split()]
    rows = [line.split() for line in lines[2:]]
    assert ["dtype", "float16"] in rows
    assert ["images", "3x32x32", "or", "another", "size;", "any", "batch"] in rows
    assert any(row[:2] == ["largest", "number"] for row in rows)
    assert rows[-1] == ["files", "net.bin,", "net.xml"]
    assert max(map(len, lines)) <= 80
    stored = json.loads(json.dumps(exported.to_dict()))
    assert stored["difference"] == exported.difference
    assert stored["card"]["classes"] == list(card.classes)
    assert stored["files"] == [str(path) for path in exported.files]


def test_a_network_of_one_size_is_exported_so_and_says_so(tmp_path):
    torch.manual_seed(0)
    model = create_model("test_vit", num_classes=3).eval()
    assert has_fixed_size(model)
    card = Card(model="test_vit", images=of_timm(model.pretrained_cfg))
    exported = export(network(card, model), "onnx", tmp_path / "net.onnx")
    assert exported.card.fixed_size
    assert "only, for the network takes no other" in str(exported)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    assert session.get_inputs()[0].shape[1:] == list(card.images.input_size)


@pytest.mark.slow
def test_a_fourier_transform_goes_into_onnx_of_one_size_and_nowhere_else(fourier, tmp_path):
    card, model = fourier
    source = network(card, model)
    with pytest.raises(InputError, match="cannot go into OpenVINO: operator DFT"):
        export(source, "openvino", tmp_path / "net.xml", fixed_size=True)
    with pytest.raises(InputError, match=r"DFT.*try --fixed-size"):
        export(source, "onnx", tmp_path / "net.onnx")
    assert not os.listdir(tmp_path)
    export(source, "onnx", tmp_path / "net.onnx", fixed_size=True)


def test_a_gate_that_draws_random_numbers_is_refused(small, tmp_path):
    card, model = small("pdfam_gmm")
    with pytest.raises(InputError, match=r"resnet8 \+ pdfam_gmm draws random numbers"):
        export(network(card, model), "onnx", tmp_path / "net.onnx")


@pytest.mark.parametrize(
    ("form", "out", "options", "sentence"),
    [
        ("onxn", "net.onnx", {}, "unknown format 'onxn'; did you mean 'onnx'?"),
        ("onnx", "net.xml", {}, "a file for onnx ends in .onnx"),
        ("onnx", "net.onnx", {"dtype": "int8"}, "onnx files have no int8"),
        ("onnx", "nowhere/net.onnx", {}, "there is no folder"),
        ("onnx", "folder.onnx", {}, "is a folder; name a file"),
    ],
)
def test_bad_words(small, tmp_path, form, out, options, sentence):
    (tmp_path / "folder.onnx").mkdir()
    card, model = small()
    with pytest.raises(InputError) as caught:
        export(network(card, model), form, tmp_path / out, **options)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("form", FORMS)
def test_damaged_and_foreign_files(copied, form):
    out = copied(form)
    whole = out.read_bytes()
    out.write_bytes(whole.replace(b"convgate", b"somebody"))
    with pytest.raises(InputError, match=r"does not say which network it holds.*export it anew"):
        open_predictor(out)
    out.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptFile, match="damaged"):
        open_predictor(out)


def test_half_an_ir_is_damaged(copied):
    out = copied("openvino")
    out.with_suffix(".bin").unlink()
    with pytest.raises(CorruptFile, match=r"net\.bin is not beside it"):
        open_predictor(out)


def test_a_run_keeps_its_scores_and_is_told_of_in_words(tiny, tmp_path):
    """What its training reached is no accuracy of the file."""
    scored = replace(tiny, card=replace(tiny.card, scores={"top1": 90.0, "val_loss": 0.1}))
    exported = export(scored, "onnx", tmp_path / "net.onnx")
    assert exported.card.scores == {"top1": 90.0, "val_loss": 0.1}
    assert "top-1" not in str(exported)


@pytest.mark.parametrize(("format", "extra"), [("onnx", "onnx"), ("openvino", "openvino")])
def test_without_its_packages_a_format_names_the_extra_that_brings_them_all(
    format, extra, monkeypatch, tmp_path
):
    """OpenVINO's extra brings ONNX; ONNX's would leave the next sentence to come."""
    for package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, package, None)
    suffix = {"onnx": "onnx", "openvino": "xml"}[format]
    with pytest.raises(InputError, match=rf"pip install 'convgate\[{extra}\]'$"):
        export("resnet8", format, tmp_path / f"net.{suffix}")
    assert not list(tmp_path.iterdir())
