"""Norms into the linear layers beside them.

A batch norm into the convolution before it:

    norm(W h + b) = g (W h + b - m) / r + t,    r = sqrt(v + eps)
                  = (g / r) W h + (g (b - m) / r + t)

with the running mean m and variance v, and g, t the norm's own weight and bias: a convolution with
other numbers. It holds in evaluation, and only where nothing stands between the two.

The affine part of a layer norm into the linear layer after it:

    W (g n + t) + b = (W diag g) n + (W t + b)

with n the normalised tensor. For a convolution W t sums over its window, so it holds without
padding alone: a padded border is 0 and not t.
"""

import copy
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from convgate.folding.net import FROZEN, Net, Step, numel, shape, sole_user
from convgate.folding.steps import layer_below, multiply, whole
from convgate.gates import Gate
from convgate.insertion import IdentityStart

IDENTITY = "norm into the convolution before it"
AFFINE = "layer norm's affine into the linear layer after it"


def fold_norms(net: Net) -> None:
    """Fold every batch norm whose input is the output of a convolution that nothing else uses."""
    for step, norm in net.steps(nn.Module):
        if not _is_norm(norm):
            continue
        before = step.args[0]
        conv = net.called(before, nn.Conv2d)
        if conv is None or sole_user(before) is not step or net.is_shared(before):
            if _is_gate(net, before):
                net.note_kept(step.target, "a gate stands between the convolution and the norm")
            continue
        _fold(net, step, norm, before, conv)
    net.refresh()


def _is_gate(net: Net, step: Any) -> bool:
    gates = Gate, IdentityStart
    return isinstance(net.called(step, nn.Module), gates) or step.target is multiply


def _fold(net: Net, step: Step, norm: Any, before: Any, conv: nn.Conv2d) -> None:
    weight, bias = fuse_conv_bn_weights(
        *(conv.weight, conv.bias, norm.running_mean, norm.running_var),
        *(norm.eps, norm.weight, norm.bias),
    )
    net.note_fold(before.target, IDENTITY, 2 * numel(step), 0)
    net.replace_module(before, layer_like(conv, weight, bias))
    act = getattr(norm, "act", None)  # timm has both in one module
    if act is None or isinstance(act, nn.Identity):
        step.replace_all_uses_with(before)
        return
    step.target = f"{step.target}.act"


def layer_like(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> Any:
    """Return a layer that differs from ``layer`` in its numbers alone."""
    twin = copy.deepcopy(layer)
    for name in list(twin._modules):  # a gate that was put on it
        delattr(twin, name)
    twin.weight = nn.Parameter(weight.detach(), requires_grad=False)
    twin.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)  # type: ignore[assignment]
    return twin


def _is_norm(module: nn.Module) -> bool:
    if type(module).__name__ in FROZEN:
        return True
    return isinstance(module, nn.BatchNorm2d) and module.running_mean is not None


def fold_affines(net: Net) -> None:
    """Fold weight and bias of every layer norm into the one layer that follows."""
    for step, norm in net.steps(nn.LayerNorm):
        if norm.weight is None or len(norm.normalized_shape) != 1:
            continue
        axis = 1 if type(norm).__name__ == "LayerNorm2d" else len(shape(step)) - 1
        below = layer_below(net, step, axis)
        if below is None or net.is_shared(step) or net.is_shared(below[0]):
            continue
        user, layer = below
        if isinstance(layer, nn.Conv2d) and not whole(layer):
            continue
        net.note_fold(step.target, AFFINE, 0, 0)
        net.replace_module(user, _absorbed(layer, norm))
        net.replace_module(step, _without_affine(norm))
    net.refresh()


def _absorbed(layer: Any, norm: nn.LayerNorm) -> nn.Module:
    window = (1, -1, *[1] * (layer.weight.ndim - 2))
    weight = layer.weight * norm.weight.reshape(window)
    bias = layer.bias
    if norm.bias is not None:
        shift = (layer.weight * norm.bias.reshape(window)).flatten(1).sum(1)
        bias = shift if bias is None else bias + shift
    return layer_like(layer, weight, bias)


def _without_affine(norm: nn.LayerNorm) -> nn.LayerNorm:
    plain = copy.deepcopy(norm)
    plain.weight = plain.bias = None  # type: ignore[assignment]
    return plain
