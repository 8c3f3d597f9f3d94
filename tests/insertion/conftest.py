"""Small backbones of every family, and options with which every gate takes their widths."""

import copy
from collections.abc import Callable
from functools import cache

import pytest
import timm
import torch
import torchvision
from torch import nn
from torchvision.models import regnet

from convgate.models import HorNet, MobileNeXt, WideResNet


def small_regnet() -> nn.Module:
    """Return a RegNetY with 1, 1, 2, 1 blocks."""
    form = regnet.BlockParams([1, 1, 2, 1], [16, 24, 32, 48], [8] * 4, [1.0] * 4, [2] * 4, 0.25)
    return regnet.RegNet(form, num_classes=5)


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "resnet": lambda: timm.create_model("test_resnet", num_classes=5),
    "efficientnet": lambda: timm.create_model("test_efficientnet", num_classes=5),
    "convnext": lambda: timm.create_model("test_convnext", num_classes=5),
    "mobilenet_v2": lambda: torchvision.models.mobilenet_v2(
        num_classes=5,
        width_mult=0.5,
        inverted_residual_setting=[[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 2, 2]],
    ),
    "shufflenet_v2": lambda: torchvision.models.ShuffleNetV2(
        [2, 2, 2], [24, 48, 96, 192, 256], num_classes=5
    ),
    "regnet": lambda: small_regnet(),
    "densenet": lambda: torchvision.models.DenseNet(16, (2, 2, 2), 32, num_classes=5),
    "selnext": lambda: timm.create_model("selnext_atto", num_classes=5),
    "hornet": lambda: HorNet(3, 5, depths=[1] * 4, dims=(16, 32, 64, 128), sides=(0, 0, 4, 2)),
    "mobilenext": lambda: MobileNeXt(3, 5, rows=((2, 16, 1, 2), (6, 32, 2, 2), (6, 48, 2, 1))),
    "wide_resnet": lambda: WideResNet(3, 5, depth=1, widen=1),
    "resnet_cifar": lambda: timm.create_model("resnet8", num_classes=5),
}

OPTIONS: dict[str, dict[str, int]] = {
    "sa": {"groups": 4},
    "sge": {"groups": 8},
    "fca": {"frequencies": 8},
    "ela": {"num_groups": 8},
    "ela_t": {"num_groups": 8},
    "ela_b": {"num_groups": 8},
    "ela_s": {"num_groups": 8},
    "ela_l": {"num_groups": 8},
}
"""For widths that are multiples of 8 and no more; all other gates take them as they are."""


@cache
def _built(name: str) -> nn.Module:
    torch.manual_seed(0)
    net = BUILDERS[name]()
    # Fresh networks hide their branches behind norms or layer scales that are zero, or nearly.
    for parameter_name, parameter in net.named_parameters():
        if parameter.ndim == 1 and not parameter_name.endswith("bias"):
            nn.init.uniform_(parameter, 0.5, 1.5)
    return net


@pytest.fixture
def backbone() -> Callable[[str], nn.Module]:
    """Return a fresh copy of a small backbone of a family."""
    return lambda name: copy.deepcopy(_built(name))


@pytest.fixture
def options() -> dict[str, dict[str, int]]:
    """Return the options of gates that need some for small widths."""
    return OPTIONS


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
