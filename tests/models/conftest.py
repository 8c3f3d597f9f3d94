"""Small networks through timm, and layers written out from a state dict.

The latter are for forward checks that share no code with the modules.
"""

from types import SimpleNamespace

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

import convgate.models  # noqa: F401  registers the names in timm

HORNET = {"depths": (1, 1, 2, 1), "dims": (16, 32, 64, 128)}
ROWS = ((2, 16, 1, 2), (6, 24, 1, 1), (6, 24, 2, 2), (6, 32, 2, 2), (6, 48, 2, 1), (6, 64, 2, 2))

PRESETS = {
    "selnext_atto": {"depths": (1, 1, 2, 1)},
    "resnet8": {},
    "hornet_tiny": HORNET,
    "hornet_tiny_gf": HORNET,
    "mobilenext_cifar": {"rows": (*ROWS, (6, 96, 2, 1), (6, 128, 1, 1)), "drop_rate": 0.0},
    "wrn28_10": {"depth": 1, "widen": 1},
    "csp_darknet_nano": {"depths": (1, 1, 1, 1)},
    "shufflenet_v2_cifar": {"depths": (1, 2, 1), "widths": (16, 32, 64)},
}
"""The networks under test, small where they have a depth to choose; 10 classes or 1000."""


@pytest.fixture(params=list(PRESETS))
def name(request):
    return request.param


@pytest.fixture
def build(name):
    """Build the network under test through timm."""

    def create(**options):
        return timm.create_model(name, **{**PRESETS[name], **options})

    return create


def under(weights, prefix):
    """Return the weights below a dotted path, without it."""
    return {k.removeprefix(f"{prefix}."): v for k, v in weights.items() if k.startswith(prefix)}


def batch_norm(w, at, x):
    """Evaluation mode, with the stored statistics."""
    mean, var, gain, shift = (
        w[f"{at}.{leaf}"][:, None, None]
        for leaf in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * gain + shift


def layer_norm(w, at, x, eps=1e-6):
    """Over the channels of (N, C, H, W), with the biased variance."""
    centred = x - x.mean(1, keepdim=True)
    normed = centred / (centred.square().mean(1, keepdim=True) + eps).sqrt()
    return normed * w[f"{at}.weight"][:, None, None] + w[f"{at}.bias"][:, None, None]


def convolve(w, at, x, stride=1):
    """Padded to keep the map; depthwise where the weights are."""
    weight = w[f"{at}.weight"]
    groups = x.shape[1] // weight.shape[1]
    padding = weight.shape[2] // 2
    return F.conv2d(x, weight, w.get(f"{at}.bias"), stride, padding, groups=groups)


def randomise(module):
    """In float64, leave no parameter or statistic at a value that hides a mistake."""
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            nn.init.uniform_(child.running_mean, -1, 1)
            nn.init.uniform_(child.running_var, 0.5, 2)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module.double().eval()


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


@pytest.fixture
def plain():
    """Return the functions above; a test directory cannot be imported from."""
    functions = (under, batch_norm, layer_norm, convolve, randomise, close)
    return SimpleNamespace(**{function.__name__: function for function in functions})
