"""Small networks of every family of ours, a run without training, and a picture."""

import json

import pytest
import safetensors.torch
import torch
from PIL import Image

from convgate import spec
from convgate.deploy import About, ImageSpec
from convgate.models import create_model
from convgate.train.build import add_gate, build_model
from convgate.train.checkpoint import WEIGHTS
from convgate.train.recipe import GateSpec, load_recipe, override

ROWS = ((2, 16, 1, 2), (6, 24, 1, 1), (6, 24, 2, 2), (6, 32, 2, 2), (6, 48, 2, 1), (6, 64, 2, 2))
HORNET = {"depths": [1, 1, 2, 1], "dims": [16, 32, 64, 128]}
FAMILIES = {
    "selnext_atto": {"depths": [1, 1, 2, 1], "dims": [16, 32, 64, 128]},
    "resnet8": {},
    "hornet_tiny": HORNET,
    "hornet_tiny_gf": HORNET,
    "mobilenext_cifar": {"rows": (*ROWS, (6, 96, 2, 1), (6, 128, 1, 1)), "drop_rate": 0.0},
    "wrn28_10": {"depth": 1, "widen": 1},
    "shufflenet_v2_cifar": {"depths": [1, 2, 1], "widths": [16, 32, 64]},
    "densenet121_cifar": {"block_config": [1, 1, 1, 1], "growth_rate": 8},
    "resnext29_16x32d": {"layers": [1, 1, 1], "cardinality": 2, "base_width": 4},
    "resnet50_cifar": {"layers": [1, 1, 1, 1]},
}
"""One network of each family of ours, small where there is a choice."""

SIZE = (3, 32, 32)
IMAGES = ImageSpec(input_size=SIZE, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), resize="square")
SIX = tuple(f"class {letter}" for letter in "abcdef")


def randomise(model):
    """Leave no norm or layer scale at a value that hides a branch."""
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 and not name.endswith("bias"):
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return model.eval()


def about_of(name, gate=None, **options):
    """Return the record of a network with six classes."""
    return About(
        model=name,
        options={"num_classes": len(SIX), **options},
        gate=gate,
        classes=SIX,
        images=IMAGES,
    )


def build(about):
    torch.manual_seed(0)
    model = create_model(about.model, **about.options)
    if about.gate is not None:
        add_gate(model, about.gate)
    return randomise(model)


@pytest.fixture(params=list(FAMILIES))
def family(request):
    """Return the record and the network of one family."""
    about = about_of(request.param, **FAMILIES[request.param])
    return about, build(about)


@pytest.fixture
def small():
    """Return the record and the network of a ResNet-8, with a gate on request."""

    def make(gate=None, **options):
        chosen = GateSpec(name=gate, options=options) if gate else None
        about = about_of("resnet8", chosen)
        return about, build(about)

    return make


@pytest.fixture
def fourier():
    """Return the record and the network of a HorNet with its global-local filter."""
    about = about_of("hornet_tiny_gf", **HORNET)
    return about, build(about)


@pytest.fixture
def run(tmp_path):
    """Return the folder of a run as training leaves it, without the training."""
    recipe = override(load_recipe("digits/demo"), "gate.name=se")
    model = randomise(build_model(recipe, num_classes=10, in_chans=1))
    folder = tmp_path / "run"
    folder.mkdir()
    told = {
        "format": "convgate",
        "recipe": spec.dump(recipe),
        "classes": json.dumps([str(i) for i in range(10)]),
        "in_chans": "1",
        "mean": "[0.3]",
        "std": "[0.4]",
    }
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    safetensors.torch.save_file(weights, folder / WEIGHTS, told)
    return folder, model


@pytest.fixture
def picture(tmp_path):
    """Return a photograph's file: 48 x 40 pixels of coloured noise."""
    pixels = torch.randint(0, 256, (40, 48, 3), generator=torch.Generator().manual_seed(0))
    path = tmp_path / "photo.png"
    Image.fromarray(pixels.byte().numpy()).save(path)
    return path
