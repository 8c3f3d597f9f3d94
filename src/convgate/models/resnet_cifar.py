"""ResNets for 32 px images: "Deep Residual Learning for Image Recognition", He et al. 2016.

https://arxiv.org/abs/1512.03385, section 4.2.
"""

from typing import Any

import torch.nn.functional as F
from timm.layers.drop import DropPath
from timm.models import generate_default_cfgs
from torch import Tensor, nn

from convgate.errors import unknown
from convgate.models.entries import build, cifar_cfg, register_networks
from convgate.models.staged import Blocks, Pooled, drop_path_rates, init_he

WIDTHS = (16, 32, 64)
SHORTCUTS = ("pad", "conv")


class PadShortcut(nn.Module):
    """Shortcut without parameters: every second pixel, zero channels on both sides.

    Shape: x (N, C, H, W) -> (N, C + 2 ``padding``, ceil(H / 2), ceil(W / 2)).
    Source: arXiv 1512.03385, option A; the padding on both sides as in
        akamaster/pytorch_resnet_cifar10, resnet.py.
    """

    def __init__(self, padding: int) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.padding, self.padding))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: y = relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)).

    Shape: x (N, C, H, W) -> y (N, C', ceil(H / stride), ceil(W / stride)).
    Source: arXiv 1512.03385, Figure 2.
    """

    def __init__(
        self, width_in: int, width: int, stride: int, shortcut: str, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.downsample = _shortcut(width_in, width, stride, shortcut)
        self.act2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.act2(self.drop_path(y) + self.downsample(x))


class ResNetCifar(Pooled):
    """ResNet of 6n + 2 layers: a 3x3 stem and three stages of n blocks, 16, 32 and 64 wide.

    Shape: x (N, in_chans, H, W) with H, W >= 1 -> (N, num_classes).
    Source: arXiv 1512.03385, section 4.2.

    Args:
        depth: n, the blocks of a stage.
        shortcut: Where the width changes: "pad" (option A) or "conv" (1x1 and batch norm).

    Raises:
        InputError: for an unknown shortcut.
    """

    STEM = r"^conv1|^bn1"
    STAGE = r"^layer(\d+)"

    def __init__(
        self,
        in_chans: int = 3,
        num_classes: int = 10,
        global_pool: str = "avg",
        *,
        depth: int = 3,
        shortcut: str = "pad",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        if shortcut not in SHORTCUTS:
            raise unknown("shortcut", shortcut, SHORTCUTS)
        self.in_chans = in_chans
        self.feature_info = [
            {"num_chs": width, "reduction": 2**i, "module": f"layer{i + 1}"}
            for i, width in enumerate(WIDTHS)
        ]
        self.conv1 = nn.Conv2d(in_chans, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.act1 = nn.ReLU(inplace=True)
        rates = drop_path_rates(drop_path_rate, [depth] * len(WIDTHS))
        self.layer1 = _stage(16, 16, 1, shortcut, rates[0])
        self.layer2 = _stage(16, 32, 2, shortcut, rates[1])
        self.layer3 = _stage(32, 64, 2, shortcut, rates[2])
        self.make_head(num_classes, global_pool, drop_rate)
        self.apply(init_he)

    def forward_stem(self, x: Tensor) -> Tensor:
        return self.act1(self.bn1(self.conv1(x)))

    def forward_features(self, x: Tensor) -> Tensor:
        return self.layer3(self.layer2(self.layer1(self.forward_stem(x))))


def _stage(width_in: int, width: int, stride: int, shortcut: str, rates: list[float]) -> Blocks:
    first = BasicBlock(width_in, width, stride, shortcut, rates[0])
    return Blocks(first, *(BasicBlock(width, width, 1, shortcut, rate) for rate in rates[1:]))


def _shortcut(width_in: int, width: int, stride: int, kind: str) -> nn.Module:
    if width_in == width and stride == 1:
        return nn.Identity()
    if kind == "pad":
        return PadShortcut((width - width_in) // 2)
    return nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))


DEPTHS = {"resnet8": 1, "resnet20": 3, "resnet56": 9}

default_cfgs = generate_default_cfgs(dict.fromkeys(DEPTHS, cifar_cfg(pool_size=(8, 8))))


def _create(variant: str, pretrained: bool, **kwargs: Any) -> ResNetCifar:
    kwargs.setdefault("depth", DEPTHS[variant])
    feature_cfg = {"out_indices": (0, 1, 2)}
    return build(ResNetCifar, variant, pretrained, feature_cfg=feature_cfg, **kwargs)


register_networks(
    __name__,
    _create,
    resnet8="ResNet-8 for CIFAR, for demonstrations: 75,290 parameters with 10 classes.",
    resnet20="ResNet-20 for CIFAR: 269,722 parameters with 10 classes.",
    resnet56="ResNet-56 for CIFAR: 853,018 parameters with 10 classes, 858,868 with 100.",
)
