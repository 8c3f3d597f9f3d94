"""What a step is (1x1 convolution, permutation, sum, product), and its axis from step to step."""

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn

from convgate.folding.net import SAME, Net, Step, shape, sole_user
from convgate.kernels.float16 import scaled

TO_LAST, TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
PRODUCTS = (operator.mul, operator.imul, torch.mul)
SUMS = (operator.add, operator.iadd, torch.add)


def is_pointwise(conv: nn.Conv2d | None) -> bool:
    """Whether a convolution is W h + b at every position."""
    return conv is not None and conv.kernel_size == (1, 1) and conv.stride == (1, 1) and whole(conv)


def whole(conv: nn.Conv2d) -> bool:
    """Whether a convolution sees all channels and no padding, which would be no W h + b."""
    unpadded = conv.kernel_size == (1, 1) or type(conv).__name__ != SAME
    return conv.groups == 1 and conv.padding in ((0, 0), "valid") and unpadded


def multiply(x: Tensor, s: Tensor) -> Tensor:
    return scaled(x, s)


def factors(step: object) -> tuple[Step, Step] | None:
    """Return x and s of a step that gives s x with x (N, C, H, W) and a scale s of x; else None.

    A product that a network writes itself counts where s is (N, C, 1, 1).
    """
    if not isinstance(step, fx.Node) or len(step.args) != 2:
        return None
    if step.op == "call_function" and step.target is multiply:
        return step.args  # type: ignore[return-value]
    called = step.op == "call_method" and step.target in ("mul", "mul_")
    if not called and not (step.op == "call_function" and step.target in PRODUCTS):
        return None
    for x, s in (step.args, step.args[::-1]):
        if len(shape(x)) == 4 and shape(s) == (*shape(x)[:2], 1, 1) != shape(x):
            return x, s  # type: ignore[return-value]
    return None


def terms(step: object) -> tuple[Step, Step] | None:
    """Return the two tensors of one shape that a step adds; None for any other step."""
    if not isinstance(step, fx.Node) or len(step.args) != 2 or step.kwargs:
        return None
    called = step.op == "call_method" and step.target in ("add", "add_")
    if not called and not (step.op == "call_function" and step.target in SUMS):
        return None
    first, second = step.args
    if not shape(first) or shape(first) != shape(second):
        return None
    return first, second  # type: ignore[return-value]


def permutation(step: object) -> tuple[int, ...] | None:
    """Return the order of axes of a step that permutes a tensor; None for any other step."""
    if not isinstance(step, fx.Node) or step.target not in ("permute", torch.permute):
        return None
    order = step.args[1:] if len(step.args) > 2 else step.args[1]
    return tuple(order)  # type: ignore[arg-type]


def permute(net: Net, x: Step, order: tuple[int, ...]) -> Step:
    """Add a step that permutes the axes of x."""
    return net.graph.call_method("permute", (x, *order))


def channel_axis(value: Tensor, like: Step) -> int | None:
    """Return the one axis of a step's tensor along which a constant varies; None if not one."""
    rank = len(shape(like))
    sizes = (1,) * (rank - value.ndim) + tuple(value.shape)
    varying = [axis for axis, size in enumerate(sizes) if size > 1]
    fits = len(varying) == 1 and sizes[varying[0]] == shape(like)[varying[0]]
    return varying[0] if fits else None


def layer_above(net: Net, step: object, axis: int) -> tuple[Step, Any] | None:
    """Return the linear layer whose output channels are a tensor's axis, if only it sees them.

    Permutations and products with a gate's scale may lie between.
    """
    while (layer := net.called(step, nn.Module)) is None or not _is_linear(layer):
        order = permutation(step)
        if order is not None:
            axis = order[axis]
        elif not _is_scaled(step):
            return None
        step = step.args[0]  # type: ignore[attr-defined]
        if sole_user(step) is None:
            return None
    return (step, layer) if axis == _axis(layer, step, "out") else None  # type: ignore[return-value,arg-type]


def layer_below(net: Net, step: Step, axis: int) -> tuple[Step, Any] | None:
    """Return the linear layer whose input channels are a tensor's axis, if it alone uses them."""
    user = sole_user(step)
    while user is not None and (order := permutation(user)) is not None:
        axis = order.index(axis)
        user = sole_user(user)
    layer = net.called(user, nn.Module)
    if user is None or layer is None or not _is_linear(layer) or len(user.args) != 1:
        return None
    return (user, layer) if axis == _axis(layer, user, "in") else None


def _is_linear(layer: nn.Module) -> bool:
    return isinstance(layer, (nn.Conv2d, nn.Linear))


def _axis(layer: nn.Module, step: Step, side: str) -> int:
    tensor = step if side == "out" else step.args[0]
    return 1 if isinstance(layer, nn.Conv2d) else len(shape(tensor)) - 1


def _is_scaled(step: object) -> bool:
    return factors(step) is not None and step.target is multiply  # type: ignore[attr-defined]
