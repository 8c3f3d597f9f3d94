"""The neck and the head of YOLOX: "YOLOX: Exceeding YOLO Series in 2021", Ge et al. 2021.

https://arxiv.org/abs/2107.08430
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convgate.models.csp_darknet import CSPLayer, separable, unit

PRIOR = 0.01  # probability of any class, and of an object, at the start


class Join(nn.Module):
    """Two maps in one, channels beside channels; the first is enlarged to the second's size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.num_channels = channels

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        if coarse.shape[2:] != fine.shape[2:]:
            coarse = F.interpolate(coarse, fine.shape[2:])
        return torch.cat([coarse, fine], 1)


class PAFPN(nn.Module):
    """Three maps fused downwards and upwards again, each with the width that it came with.

    ``joined.0`` to ``joined.3`` are the concatenations in their order; ``fused.0``, ``fused.1``
    and ``fused.2`` are the layers whose outputs leave the neck.

    Shape: (N, c_i, H / s_i, W / s_i) for three strides -> the same shapes.
    Source: arXiv 2107.08430; as in Megvii-BaseDetection/YOLOX, yolox/models/yolo_pafpn.py, with
        separable 3x3 convolutions.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        fine, middle, coarse = channels
        self.lateral = nn.ModuleList([unit(coarse, middle), unit(middle, fine)])
        self.joined = nn.ModuleList(Join(2 * width) for width in (middle, fine, fine, middle))
        self.meet = CSPLayer(2 * middle, middle, 1, shortcut=False)
        self.down = nn.ModuleList([separable(fine, fine, 2), separable(middle, middle, 2)])
        self.fused = nn.ModuleList(
            CSPLayer(2 * width_in, width, 1, shortcut=False)
            for width_in, width in ((fine, fine), (fine, middle), (middle, coarse))
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        fine, middle, coarse = maps
        top = self.lateral[0](coarse)
        centre = self.lateral[1](self.meet(self.joined[0](top, middle)))
        first = self.fused[0](self.joined[1](centre, fine))
        second = self.fused[1](self.joined[2](self.down[0](first), centre))
        third = self.fused[2](self.joined[3](self.down[1](second), top))
        return [first, second, third]


class DecoupledHead(nn.Module):
    """Two separable convolutions for the classes and two for box and objectness, map by map.

    Shape: (N, c_i, H_i, W_i) for each map -> (N, A, 4 + 1 + K): centre offset and log size in
    strides, objectness, class logits.
    Source: arXiv 2107.08430, section 2.1 and Figure 2; as in Megvii-BaseDetection/YOLOX,
        yolox/models/yolo_head.py.

    Args:
        channels: c_i.
        num_classes: K.
    """

    def __init__(self, channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        width = channels[0]
        self.stems = nn.ModuleList(unit(c, width) for c in channels)
        self.classes = nn.ModuleList(_branch(width) for _ in channels)
        self.boxes = nn.ModuleList(_branch(width) for _ in channels)
        self.to_class = nn.ModuleList(nn.Conv2d(width, num_classes, 1) for _ in channels)
        self.to_box = nn.ModuleList(nn.Conv2d(width, 4, 1) for _ in channels)
        self.to_object = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in channels)
        for layer in (*self.to_class, *self.to_object):
            nn.init.constant_(layer.bias, -math.log((1 - PRIOR) / PRIOR))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        rows = [self._level(i, x).flatten(2).transpose(1, 2) for i, x in enumerate(maps)]
        return torch.cat(rows, 1).float()

    def _level(self, i: int, x: Tensor) -> Tensor:
        x = self.stems[i](x)
        box, kind = self.boxes[i](x), self.classes[i](x)
        return torch.cat([self.to_box[i](box), self.to_object[i](box), self.to_class[i](kind)], 1)


def _branch(width: int) -> nn.Sequential:
    return nn.Sequential(separable(width, width), separable(width, width))
