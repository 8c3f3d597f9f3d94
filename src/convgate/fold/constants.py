"""A constant scale of channels (layer scale) into the linear layer before it.

    g (W h + b) = (g W) h + g b,    and  g (s (W h + b)) = s ((g W) h + g b)

with g a number for each output channel and s a gate's scale. It holds where nothing else sees the
layer's output: a gate that pools it would see g times as much.
"""

import operator
from typing import Any

import torch
from torch import Tensor, fx

from convgate.fold.axes import channel_axis, layer_above
from convgate.fold.net import Net, Step, numel
from convgate.fold.norms import is_shared, like

IDENTITY = "layer scale into the linear layer before it"
RESHAPES = ("reshape", "view", "unsqueeze", "to")


def fold_constants(net: Net) -> None:
    """Fold every product with a constant into the linear layer that it follows."""
    for step in list(net.graph.nodes):
        found = _constant_product(net, step)
        if found is None:
            continue
        x, value = found
        axis = channel_axis(value, x)
        above = layer_above(net, x, axis) if axis is not None else None
        if above is None or is_shared(net, above[0]) or len(x.users) != 1:
            continue
        layer_step, layer = above
        scale = value.flatten()
        weight = layer.weight * scale.reshape(-1, *[1] * (layer.weight.ndim - 1))
        bias = None if layer.bias is None else layer.bias * scale
        net.did(layer_step.target, IDENTITY, 2 * numel(step), 0)
        net.swap(layer_step, like(layer, weight, bias))
        step.replace_all_uses_with(x)
    net.settle()


def _constant_product(net: Net, step: Step) -> tuple[Step, Tensor] | None:
    by_name = step.op == "call_method" and step.target == "mul"
    if not by_name and step.target not in (operator.mul, torch.mul):
        return None
    for x, constant in (step.args, step.args[::-1]):
        value = _value(net, constant)
        if value is not None and isinstance(x, fx.Node):
            return x, value
    return None


def _value(net: Net, step: Any) -> Tensor | None:
    """Return the tensor that a step gives for any image; None where it depends on the image."""
    if not isinstance(step, fx.Node):
        return None
    if step.op == "call_method" and step.target in RESHAPES:
        inner = _value(net, step.args[0])
        arguments = step.args[1:]
        if inner is None or any(isinstance(argument, fx.Node) for argument in arguments):
            return None
        return getattr(inner, str(step.target))(*arguments, **step.kwargs)
    return net.constant(step)
