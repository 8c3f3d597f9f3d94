"""TensorFlow's "same" padding with sizes that torch.export can follow.

timm pads by max((ceil(H / s) - 1) s + k - H, 0) on each axis, k being the reach of the kernel. With
H unknown this grows from layer to layer into terms that take minutes to compare. For k >= s the
padded size is s ceil(H / s) + k - s, and what the layer gives has ceil(H / s) pixels.
"""

import copy

import torch.nn.functional as F
from timm.layers import AvgPool2dSame, Conv2dSame
from timm.layers.pool2d_same import MaxPool2dSame
from torch import Tensor, nn


class SamePad(nn.Module):
    """Pads so that a window layer with stride s gives ceil(H / s) x ceil(W / s).

    Shape: (N, C, H, W) -> (N, C, s ceil(H / s) + k - s, the same of W).
    Source: https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2.

    Args:
        reach: Pixels k that a window spans, by axis.
        stride: s, by axis; at most k.
        value: What is put around the image.
    """

    def __init__(self, reach: tuple[int, int], stride: tuple[int, int], value: float = 0.0) -> None:
        super().__init__()
        self.reach, self.stride, self.value = reach, stride, value

    def forward(self, x: Tensor) -> Tensor:
        sides: list[int] = []
        for axis in (1, 0):  # F.pad takes the last axis first
            size, k, s = x.shape[2 + axis], self.reach[axis], self.stride[axis]
            missing = (size + s - 1) // s * s + k - s - size
            sides += [missing // 2, missing - missing // 2]
        return F.pad(x, sides, value=self.value)


def with_plain_padding(model: nn.Module) -> nn.Module:
    """Return a network whose layers with "same" padding are a `SamePad` and a plain layer.

    It is the network itself where there are none, else a copy.
    """
    if not any(_plain(module) for module in model.modules()):
        return model
    model = copy.deepcopy(model)
    for path, module in list(model.named_modules()):
        pair = _plain(module)
        if pair is not None and path:
            model.set_submodule(path, pair)
    return model


def _plain(module: nn.Module) -> nn.Sequential | None:
    """Return padding and layer in place of a layer of timm's; None for all others."""
    if type(module) is Conv2dSame:
        layer: nn.Module = nn.Conv2d(
            module.in_channels,
            module.out_channels,
            module.kernel_size,
            module.stride,
            dilation=module.dilation,
            groups=module.groups,
            bias=module.bias is not None,
        )
        layer.weight, layer.bias = module.weight, module.bias
        return _padded(module, layer, 0.0)
    if type(module) is MaxPool2dSame:
        size, stride, dilation = module.kernel_size, module.stride, module.dilation
        layer = nn.MaxPool2d(size, stride, dilation=dilation, ceil_mode=module.ceil_mode)
        return _padded(module, layer, -float("inf"))
    if type(module) is AvgPool2dSame:
        size, stride = module.kernel_size, module.stride
        layer = nn.AvgPool2d(size, stride, 0, module.ceil_mode, module.count_include_pad)
        return _padded(module, layer, 0.0)
    return None


def _padded(module: nn.Module, layer: nn.Module, value: float) -> nn.Sequential | None:
    sizes, strides = _pair(module.kernel_size), _pair(module.stride)
    dilations = _pair(getattr(module, "dilation", 1))
    reach = tuple(d * (k - 1) + 1 for k, d in zip(sizes, dilations, strict=True))
    if any(k < s for k, s in zip(reach, strides, strict=True)):
        return None  # pixels between windows are left out, and the padding may be 0
    return nn.Sequential(SamePad(reach, strides, value), layer)


def _pair(value: object) -> tuple[int, int]:
    high, wide = value if isinstance(value, (tuple, list)) else (value, value)
    return int(high), int(wide)
