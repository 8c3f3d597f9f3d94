"""TensorFlow's "same" padding with sizes that torch.export can follow.

timm pads by max((ceil(H / s) - 1) s + k - H, 0) on each axis, k being the reach of the kernel. With
H unknown this grows from layer to layer into terms that take minutes to compare. For k >= s the
padded size is s ceil(H / s) + k - s, and what the layer gives has ceil(H / s) pixels.
"""

import copy
import math
from typing import Any

import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
from torch import Tensor, nn


def pad(x: Tensor, reach: tuple[int, int], stride: tuple[int, int], value: float = 0.0) -> Tensor:
    """Pad so that a window layer with stride s gives ceil(H / s) x ceil(W / s).

    Shape: (N, C, H, W) -> (N, C, s ceil(H / s) + k - s, the same of W).
    Source: https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2.

    Args:
        x: The map.
        reach: Pixels k that a window spans, by axis.
        stride: s, by axis; at most k.
        value: What is put around the map.
    """
    sides: list[int] = []
    for axis in (1, 0):  # F.pad takes the last axis first
        size, k, s = x.shape[2 + axis], reach[axis], stride[axis]
        missing = (size + s - 1) // s * s + k - s - size
        sides += [missing // 2, missing - missing // 2]
    return F.pad(x, sides, value=value)


class PaddedConv2d(Conv2dSame):
    def forward(self, x: Tensor) -> Tensor:
        padded = pad(x, *_window(self))
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class PaddedMaxPool2d(MaxPool2dSame):
    def forward(self, x: Tensor) -> Tensor:
        padded = pad(x, *_window(self), value=-math.inf)
        size, dilation = self.kernel_size, self.dilation
        return F.max_pool2d(padded, size, self.stride, 0, dilation, self.ceil_mode)


class PaddedAvgPool2d(AvgPool2dSame):
    def forward(self, x: Tensor) -> Tensor:
        padded = pad(x, *_window(self))
        size, counted = self.kernel_size, self.count_include_pad
        return F.avg_pool2d(padded, size, self.stride, 0, self.ceil_mode, counted)


PADDED: dict[type, type] = {
    Conv2dSame: PaddedConv2d,
    MaxPool2dSame: PaddedMaxPool2d,
    AvgPool2dSame: PaddedAvgPool2d,
}


def with_plain_padding(model: nn.Module) -> nn.Module:
    """Return a network whose layers with "same" padding pad as `pad` does.

    It is the network itself where there are none, else a copy, whose layers change their class
    alone: gates and other hooks on them stay.
    """
    if not any(map(_can_change, model.modules())):
        return model
    model = copy.deepcopy(model)
    for module in filter(_can_change, model.modules()):
        module.__class__ = PADDED[type(module)]
    return model


def _can_change(module: nn.Module) -> bool:
    """Tell whether a layer has windows without pixels between them, where no padding is 0."""
    if type(module) not in PADDED:
        return False
    reach, stride = _window(module)
    return all(k >= s for k, s in zip(reach, stride, strict=True))


def _window(module: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return what a layer's window spans, dilation included, and its stride."""
    (high, wide), dilation = _pair(module.kernel_size), _pair(getattr(module, "dilation", 1))
    reach = (dilation[0] * (high - 1) + 1, dilation[1] * (wide - 1) + 1)
    return reach, _pair(module.stride)


def _pair(value: Any) -> tuple[int, int]:
    high, wide = value if isinstance(value, tuple | list) else (value, value)
    return int(high), int(wide)
