"""What single modules cost by the rules of the papers' counters."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from convgate.gates import CA, CBAM, ECA, ELA, SA, SE, SGE, Gate
from convgate.models.hornet_block import GlobalLocalFilter
from convgate.tasks.detect.yolox_parts import Join

Rule = Callable[[Any, Tensor, Tensor], int]
"""Module, first input and output -> operations."""


def thop_rule(module: nn.Module, norm: int) -> Rule | None:
    """Return the rule of thop, with ``norm`` operations for each value of a batch norm."""
    if isinstance(module, _ConvNd):
        return lambda conv, x, y: y.numel() * conv.weight[0].numel()
    if isinstance(module, nn.Linear):
        return lambda linear, x, y: y.numel() * linear.in_features
    if isinstance(module, _BatchNorm):
        return lambda _, x, y: norm * x.numel()
    if isinstance(module, nn.AdaptiveAvgPool2d):  # the whole map is shared out
        return lambda _, x, y: x.numel() + y.numel()
    if isinstance(module, nn.AvgPool2d):
        return lambda _, x, y: y.numel()
    return None


def published_rule(module: nn.Module, pools: bool) -> Rule | None:
    """Return what thop sees where the published code has modules and ours computes by functions."""
    if isinstance(module, ELA):
        return lambda gate, x, y: gate.conv.weight.numel() * (x.shape[2] + x.shape[3])
    if isinstance(module, Join):  # the first map comes through an upsampling module
        return lambda _, x, y: (
            x.shape[:2].numel() * y.shape[2:].numel() * (x.shape[2:] != y.shape[2:])
        )
    if not pools or not isinstance(module, Gate):
        return None
    if isinstance(module, CA):
        return lambda gate, x, y: 2 * x.numel() + x.shape[1] * (x.shape[2] + x.shape[3])
    if isinstance(module, SA):
        return lambda gate, x, y: (x.numel() + x.shape[1]) // 2  # half of the channels
    if isinstance(module, (SE, ECA, CBAM, SGE)):
        return lambda gate, x, y: x.numel() + x.shape[1]
    return None


def mmcv_rule(module: nn.Module) -> Rule | None:
    """Return the rule of mmcv's counter, which knows the kinds of modules by their exact type."""
    kind = type(module)
    if kind is nn.ConvTranspose2d:
        return lambda conv, x, y: x.numel() * conv.weight[0].numel() + _biases(conv, y)
    if isinstance(module, _ConvNd):
        return lambda conv, x, y: y.numel() * conv.weight[0].numel() + _biases(conv, y)
    if isinstance(module, nn.Linear):
        return lambda linear, x, y: y.numel() * linear.in_features
    if isinstance(module, _BatchNorm) or kind in (nn.GroupNorm, nn.LayerNorm):
        return lambda _, x, y: 2 * x.numel()
    if kind in (nn.ReLU, nn.ReLU6):
        return lambda _, x, y: y.numel()
    if kind in (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d):
        return lambda _, x, y: x.numel()
    return None


def hornet_rule(module: nn.Module) -> Rule | None:
    """Return what HorNet's script adds to the multiply-adds."""
    if type(module) is nn.LayerNorm:  # and not a norm with channels first, which is derived from it
        return lambda _, x, y: 5 * x.numel()
    return _spectral if isinstance(module, GlobalLocalFilter) else None


def _biases(conv: Any, y: Tensor) -> int:
    return y.numel() if conv.bias is not None else 0


def _spectral(_: nn.Module, x: Tensor, y: Tensor) -> int:
    """Count both transforms of half the channels: values times log2 of channels times height.

    The script takes (N, C, H, W) for (N, H, W, C), so that C H stands where H W was meant.
    """
    n, channels, height, width = x.shape
    values = n * (channels // 2) * height * (width + width // 2 + 1)  # real in, complex in
    return values * math.ceil(math.log2(channels // 2 * height))
