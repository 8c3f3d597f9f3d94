"""CSPDarknet of YOLOX-Nano: "YOLOX: Exceeding YOLO Series in 2021", Ge et al. 2021.

https://arxiv.org/abs/2107.08430
"""

from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from timm.models import generate_default_cfgs, register_model
from torch import Tensor, nn

from convgate.models.entries import build, imagenet_cfg
from convgate.models.staged import Blocks, Pooled

POOLS = (5, 9, 13)


def unit(width_in: int, width: int, side: int = 1, stride: int = 1, groups: int = 1) -> nn.Module:
    """Return a convolution, its norm (eps 1e-3, momentum 0.03) and SiLU."""
    conv = nn.Conv2d(width_in, width, side, stride, side // 2, groups=groups, bias=False)
    norm = nn.BatchNorm2d(width, eps=1e-3, momentum=0.03)
    return nn.Sequential(OrderedDict(conv=conv, norm=norm, act=nn.SiLU(inplace=True)))


def separable(width_in: int, width: int, stride: int = 1) -> nn.Module:
    """Return a depthwise 3x3 unit and a 1x1 unit."""
    depthwise = unit(width_in, width_in, 3, stride, groups=width_in)
    return nn.Sequential(OrderedDict(depthwise=depthwise, pointwise=unit(width_in, width)))


class Focus(nn.Module):
    """Every second pixel as a channel, four times as many, and a 3x3 unit.

    Shape: x (N, C, H, W) -> (N, width, ceil(H / 2), ceil(W / 2)); odd sides are padded by one.
    Source: as in Megvii-BaseDetection/YOLOX, yolox/models/network_blocks.py.
    """

    def __init__(self, in_chans: int, width: int) -> None:
        super().__init__()
        self.conv, self.norm, self.act = unit(4 * in_chans, width, 3).children()

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, [0, x.shape[3] % 2, 0, x.shape[2] % 2])
        upper, lower = x[:, :, ::2], x[:, :, 1::2]
        quarters = [upper[..., ::2], lower[..., ::2], upper[..., 1::2], lower[..., 1::2]]
        return self.act(self.norm(self.conv(torch.cat(quarters, 1))))


class Bottleneck(nn.Module):
    """A 1x1 unit and a separable 3x3, with a shortcut where asked for."""

    def __init__(self, width: int, shortcut: bool) -> None:
        super().__init__()
        self.squeeze, self.mix = unit(width, width), separable(width, width)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.mix(self.squeeze(x))
        return x + y if self.shortcut else y


class CSPLayer(nn.Module):
    """Half the width through bottlenecks, half past them, and a 1x1 unit over both.

    Shape: x (N, width_in, H, W) -> (N, width, H, W).
    Source: as in Megvii-BaseDetection/YOLOX, yolox/models/network_blocks.py.
    """

    def __init__(self, width_in: int, width: int, depth: int, *, shortcut: bool) -> None:
        super().__init__()
        half = width // 2
        self.num_channels = width
        self.through, self.past = unit(width_in, half), unit(width_in, half)
        self.blocks = Blocks(*(Bottleneck(half, shortcut) for _ in range(depth)))
        self.merge = unit(2 * half, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.merge(torch.cat([self.blocks(self.through(x)), self.past(x)], 1))


class PooledPyramid(nn.Module):
    """The map and its maxima over 5, 9 and 13 px squares, between 1x1 units."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.squeeze = unit(width, width // 2)
        self.pools = nn.ModuleList(nn.MaxPool2d(side, 1, side // 2) for side in POOLS)
        self.merge = unit(width // 2 * (1 + len(POOLS)), width)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.squeeze(x)]
        for pool in self.pools:
            maps.append(pool(maps[0]))
        return self.merge(torch.cat(maps, 1))


class CSPDarknet(Pooled):
    """A stem on every second pixel and four stages of separable CSP layers.

    Shape: x (N, in_chans, H, W) with H, W >= 1 -> (N, num_classes); odd sides are padded by one.
    Source: arXiv 2107.08430; widths, depths and norms as in Megvii-BaseDetection/YOLOX,
        exps/default/yolox_nano.py and yolox/models/darknet.py, with pooling and a linear layer for
        a head.

    Args:
        width: Of the stem; every stage doubles it.
        depths: Bottlenecks in every stage.
    """

    def __init__(
        self,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        *,
        width: int = 16,
        depths: tuple[int, int, int, int] = (1, 3, 3, 1),
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_chans = in_chans
        self.stem = Focus(in_chans, width)
        self.stages = nn.Sequential()
        self.feature_info = []
        for i, depth in enumerate(depths):
            parts = [("downsample", separable(width, 2 * width, 2))]
            width, last = 2 * width, i == len(depths) - 1
            if last:
                parts.append(("pools", PooledPyramid(width)))
            parts.append(("csp", CSPLayer(width, width, depth, shortcut=not last)))
            self.stages.append(nn.Sequential(OrderedDict(parts)))
            self.feature_info.append(
                {"num_chs": width, "reduction": 4 * 2**i, "module": f"stages.{i}"}
            )
        self.make_head(num_classes, global_pool, drop_rate)

    def forward_stem(self, x: Tensor) -> Tensor:
        return self.stem(x)

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        return {"stem": r"^stem", "blocks": r"^stages\.(\d+)"}


default_cfgs = generate_default_cfgs(
    {
        "csp_darknet_nano": imagenet_cfg(
            mean=(0.0, 0.0, 0.0),
            std=(1 / 255, 1 / 255, 1 / 255),  # it takes pixels from 0 to 255
            first_conv="stem.conv",
            classifier="fc",
            origin_url="https://github.com/Megvii-BaseDetection/YOLOX",
        )
    }
)


@register_model
def csp_darknet_nano(pretrained: bool = False, **kwargs: Any) -> CSPDarknet:
    """Build the backbone of YOLOX-Nano as a classifier."""
    feature_cfg = {"out_indices": (0, 1, 2, 3), "flatten_sequential": True}
    return build(CSPDarknet, "csp_darknet_nano", pretrained, feature_cfg=feature_cfg, **kwargs)
