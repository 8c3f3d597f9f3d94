"""Every verb that takes a network, over every kind of thing that a user can name.

Each pair gives either the result or one sentence that says what the thing is. All networks take
colour pictures of 32 px, and the data have two classes of ImageNet.
"""

import json

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from convgate.cli import app
from convgate.models import create_model
from convgate.networks import Card, DetectorSpec, Preprocessing, build_network, save_network

NAMES = {
    "name": "resnet8",
    "timm": "test_resnet",
    "tag": "test_resnet.r160_in1k",
    "torchvision": "torchvision/shufflenet_v2_x0_5",
}
FILES = ("run", "weights", "inserted", "hub")  # of one run
OTHERS = {
    "onnx": "is an ONNX file",
    "xml": "is an OpenVINO file",
    "unfinished": "is a run that is not finished",
    "study": "is a study",
    "picture": "is a picture",
    "missing": "there is no such file or folder",
}
CLASSES = ("n01440764", "n01443537")  # tench and goldfish
FAST = ("--seconds", "0.01", "--threads", "1")
TRAIN = (
    "digits/demo",
    *(
        word
        for key in ("data.name=folder", "data.image_px=32", "schedule.epochs=1", "run.batch_size=8")
        for word in ("--set", key)
    ),
)


def convgate(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def must(*words):
    done = convgate(*words)
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of noise: train/CLASS and val/CLASS."""
    folder = tmp_path_factory.mktemp("data")
    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", 8), ("val", 2)):
        for name in CLASSES:
            place = folder / split / name
            place.mkdir(parents=True)
            for i in range(count):
                noise = torch.randint(0, 256, (40, 36, 3), generator=generator).byte()
                Image.fromarray(noise.numpy()).save(place / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def things(tmp_path_factory, pictures):
    """Kind -> what the command line is given; and a checkpoint of each name."""
    at = tmp_path_factory.mktemp("things")
    run, weights = at / "run", at / "run" / "weights.safetensors"
    must("train", *TRAIN, "--data", pictures, "--gate", "se", "--out", run)
    inserted = at / "inserted.safetensors"
    must("insert", run, "--gate", "eca", "--at", "stem_end", "--out", inserted)
    must("export", run, "--format", "hub", "--out", at / "hub")
    must("export", inserted, "--format", "onnx", "--out", at / "net.onnx")
    must("export", weights, "--format", "openvino", "--out", at / "net.xml")
    for folder, file in (("unfinished", "last.ckpt"), ("study", "study.db")):
        (at / folder).mkdir()
        (at / folder / file).write_bytes(b"began")
    card = Card(
        task="detect",
        model="test_resnet",
        detector=DetectorSpec(name="yolox"),
        classes=CLASSES,
        images=Preprocessing(input_size=(3, 32, 32), mean=(0,) * 3, std=(1,) * 3, resize="shrink"),
    )
    save_network(at / "detector.safetensors", build_network(card).state_dict(), card)
    for kind, name in NAMES.items():
        torch.save(create_model(name).state_dict(), at / f"{kind}.pth")
    return NAMES | {
        "run": run,
        "weights": weights,
        "inserted": inserted,
        "hub": at / "hub",
        "onnx": at / "net.onnx",
        "xml": at / "net.xml",
        "unfinished": at / "unfinished",
        "study": at / "study",
        "picture": pictures / "val" / CLASSES[0] / "0.png",
        "missing": at / "gone",
        "detector": at / "detector.safetensors",
        "checkpoints": at,
    }


def words_of(verb, model, pictures, out):
    """Return the command line of a verb on a network."""
    small = ("--image-px", 32)
    picture = pictures / "val" / CLASSES[1] / "1.png"
    return {
        "measure": ("measure", model, *FAST, *small),
        "insert": ("insert", model, "--gate", "srm", "--at", "stage_end", *small),
        "ls": ("ls", "sites", model),
        "export": ("export", model, "--format", "hub", "--out", out / "hub"),
        "eval": ("eval", model, "--data", pictures),
        "predict": ("predict", picture, "--model", model),
        "diversity": ("view", "diversity", "--data", pictures, *_view(model, out), *small),
        "scales": ("view", "scales", pictures, *_view(model, out), *small),
        "cam": ("view", "cam", picture, *_view(model, out), *small),
        "train": ("train", *TRAIN, "--data", pictures, "--model", model, "--out", out / "run"),
        "study": (
            *("study", *TRAIN, "--data", pictures, "--model", model, "--gate", "none"),
            *("--seeds", 1, "--seconds", 0.01, "--out", out / "study"),
        ),
    }[verb]


def _view(model, out):
    return ("--model", model, "--out", out / "view.svg")


PROOF = {
    "insert": "output unchanged, bit for bit",
    "ls": "stage_end",
    "export": "difference",
    "eval": "on 4 images",
    "predict": "tench",
    "diversity": "after each",
    "scales": "sigmoid",
    "cam": "1.png",
    "train": "on 4 images  epochs 1",
}
"""What stands in the answer of a verb that did its work."""
SENTENCES = {
    **{("scales", kind): "has no gate to look at" for kind in NAMES},
    **{("predict", kind): "its weights are random" for kind in NAMES},
    **{("eval", kind): "its weights are random" for kind in NAMES},
    ("export", "torchvision"): "is not in timm, which the hub layout is for",
}
"""What is said where a network opens and the verb has no answer for it."""
TOGETHER = ("name", "timm", "tag", "torchvision", "run", "inserted", "hub")


@pytest.mark.parametrize("kind", [*NAMES, *FILES])
@pytest.mark.parametrize("verb", PROOF)
def test_a_network_gives_the_result(verb, kind, things, pictures, tmp_path):
    done = convgate(*words_of(verb, things[kind], pictures, tmp_path))
    if (verb, kind) in SENTENCES:
        assert_told(done, SENTENCES[verb, kind])
        return
    assert done.exit_code == 0, done.output + repr(done.exception)
    assert PROOF[verb] in done.stdout
    if verb in ("insert", "cam", "diversity"):
        assert ("random" in done.stdout) == (kind in NAMES)


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("verb", ["eval", "predict"])
def test_a_name_with_weights_gives_the_result(verb, kind, things, pictures, tmp_path):
    words = words_of(verb, things[kind], pictures, tmp_path)
    done = convgate(*words, "--weights", things["checkpoints"] / f"{kind}.pth")
    if (verb, kind) == ("eval", "name"):  # ten outputs, and nobody says of what
        assert_told(done, "has no class names")
        return
    assert done.exit_code == 0, done.output + repr(done.exception)
    assert {"eval": "on 4 images", "predict": "%"}[verb] in done.stdout


@pytest.mark.parametrize("kind", ["onnx", "xml"])
@pytest.mark.parametrize("verb", ["eval", "predict"])
def test_an_exported_file_gives_the_result(verb, kind, things, pictures, tmp_path):
    done = convgate(*words_of(verb, things[kind], pictures, tmp_path))
    assert done.exit_code == 0, done.output + repr(done.exception)
    assert PROOF[verb] in done.stdout


def test_all_are_measured_together(things, settled):
    networks = [things[kind] for kind in TOGETHER]
    done = convgate("measure", *networks, *FAST, "--image-px", 32, "--json")
    assert done.exit_code == 0, done.output + repr(done.exception)
    found = json.loads(done.stdout)
    assert len(found["models"]) == len(TOGETHER)
    verdicts = [row["verdict"] for row in found["latency"]["rows"]]
    assert verdicts[0] == "base" and "base" not in verdicts[1:]


def test_a_study_compares_them_all(things, pictures, tmp_path, settled):
    """Those that start from random weights together, and those that start from learned ones."""
    for kinds in (("timm", "torchvision"), ("run", "inserted", "hub")):
        model = ",".join(str(things[kind]) for kind in kinds)
        done = convgate(*words_of("study", model, pictures, tmp_path / kinds[0]), "--json")
        assert done.exit_code == 0, done.output + repr(done.exception)
        assert len(json.loads(done.stdout)["rows"]) == len(kinds)
    both = f"{things['timm']},{things['run']}"
    assert_told(
        convgate(*words_of("study", both, pictures, tmp_path)), "from random weights beside"
    )


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("verb", ["measure", "study", *PROOF])
def test_anything_else_is_told(verb, kind, things, pictures, tmp_path):
    if verb in ("eval", "predict") and kind in ("onnx", "xml"):
        return  # these two take them
    done = convgate(*words_of(verb, things[kind], pictures, tmp_path))
    assert_told(done, OTHERS[kind])
    assert str(things[kind]) in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", ["measure", "insert", "export", "cam"])
def test_a_detector_is_told(verb, things, pictures, tmp_path):
    words = words_of(verb, things["detector"], pictures, tmp_path)
    if verb == "export":  # a hub folder holds one
        words = ("export", things["detector"], "--format", "onnx", "--out", tmp_path / "net.onnx")
    assert_told(convgate(*words), "is made to detect")
    assert not list(tmp_path.iterdir())


def assert_told(done, sentence):
    """The command ended with one sentence, and did nothing."""
    assert done.exit_code == 2, done.output + repr(done.exception)
    assert sentence in done.stderr
    assert done.stderr.startswith("convgate: ") and len(done.stderr.splitlines()) == 1
    assert not done.stdout
