"""The affine part of a layer norm into the linear layer after it.

    W (g n + t) + b = (W diag g) n + (W t + b)

with n the normalised tensor. For a convolution W t sums over its window, so it holds without
padding alone: a padded border is 0 and not t.
"""

import copy
from typing import Any

from torch import nn

from convgate.folding.axes import layer_below
from convgate.folding.net import Net, shape
from convgate.folding.norms import is_shared, like
from convgate.folding.pointwise import whole

IDENTITY = "layer norm's affine into the linear layer after it"


def fold_affines(net: Net) -> None:
    """Fold weight and bias of every layer norm into the one layer that follows."""
    for step, norm in net.steps(nn.LayerNorm):
        if norm.weight is None or len(norm.normalized_shape) != 1:
            continue
        axis = 1 if type(norm).__name__ == "LayerNorm2d" else len(shape(step)) - 1
        below = layer_below(net, step, axis)
        if below is None or is_shared(net, step) or is_shared(net, below[0]):
            continue
        user, layer = below
        if isinstance(layer, nn.Conv2d) and not whole(layer):
            continue
        net.did(step.target, IDENTITY, 0, 0)
        net.swap(user, _absorbed(layer, norm))
        net.swap(step, _without_affine(norm))
    net.settle()


def _absorbed(layer: Any, norm: nn.LayerNorm) -> nn.Module:
    window = (1, -1, *[1] * (layer.weight.ndim - 2))
    weight = layer.weight * norm.weight.reshape(window)
    bias = layer.bias
    if norm.bias is not None:
        shift = (layer.weight * norm.bias.reshape(window)).flatten(1).sum(1)
        bias = shift if bias is None else bias + shift
    return like(layer, weight, bias)


def _without_affine(norm: nn.LayerNorm) -> nn.LayerNorm:
    plain = copy.deepcopy(norm)
    plain.weight = plain.bias = None  # type: ignore[assignment]
    return plain
