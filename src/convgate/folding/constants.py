"""A constant scale of channels (layer scale) into the linear layer or the scale before it.

    g (W h + b) = (g W) h + g b,    and  g (s (W h + b)) = s ((g W) h + g b)
    g (s y) = (g s) y

with g a number for each output channel and s a gate's scale. The first line holds where nothing
else sees the layer's output: a gate that pools it would see g times as much. The second line holds
then, too, where nothing else uses the product.
"""

import operator
from typing import Any

import torch
from torch import Tensor, fx

from convgate.folding.net import GATE, Net, Step, numel, sole_user
from convgate.folding.norms import layer_like
from convgate.folding.steps import channel_axis, layer_above, multiply, permutation

IDENTITY = "layer scale into the linear layer before it"
INTO_GATE = "layer scale into the scale of the gate before it"
RESHAPES = ("reshape", "view", "unsqueeze", "to")


def fold_constants(net: Net) -> None:
    """Fold every product with a constant into the linear layer or the scale that it follows."""
    for step in list(net.graph.nodes):
        found = _constant_product(net, step)
        if found is None:
            continue
        x, value = found
        axis = channel_axis(value, x)
        if axis is None or len(x.users) != 1:
            continue
        if _into_layer(net, x, value.flatten(), axis) or _into_gate(net, x, value.flatten(), axis):
            step.replace_all_uses_with(x)
    net.refresh()


def _into_layer(net: Net, x: Step, scale: Tensor, axis: int) -> bool:
    above = layer_above(net, x, axis)
    if above is None or net.is_shared(above[0]):
        return False
    step, layer = above
    weight = layer.weight * scale.reshape(-1, *[1] * (layer.weight.ndim - 1))
    bias = None if layer.bias is None else layer.bias * scale
    net.note_fold(step.target, IDENTITY, 2 * numel(x), 0)
    net.replace_module(step, layer_like(layer, weight, bias))
    return True


def _into_gate(net: Net, x: Any, scale: Tensor, axis: int) -> bool:
    while (order := permutation(x)) is not None:
        axis = order[axis]
        x = x.args[0]
        if sole_user(x) is None:
            return False
    if x.target is not multiply or axis != 1:
        return False
    y, s = x.args
    with net.graph.inserting_before(x):
        constant = net.parameter(f"{x}_scale", scale[:, None, None])
        x.args = (y, net.graph.call_function(torch.mul, (s, constant)))
    net.note_fold(x.meta.get(GATE, x), INTO_GATE, 2 * numel(x), 0)
    return True


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
