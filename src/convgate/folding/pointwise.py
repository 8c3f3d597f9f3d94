"""Which steps are 1x1 convolutions, linear layers, permutations, sums and products."""

import operator

import torch
from torch import Tensor, fx, nn

from convgate.folding.net import Net, Step, shape

TO_LAST, TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
PRODUCTS = (operator.mul, operator.imul, torch.mul)
SUMS = (operator.add, operator.iadd, torch.add)


def is_pointwise(conv: nn.Conv2d | None) -> bool:
    """Whether a convolution is W h + b at every position."""
    return conv is not None and conv.kernel_size == (1, 1) and conv.stride == (1, 1) and whole(conv)


def whole(conv: nn.Conv2d) -> bool:
    """Whether a convolution sees all channels and no padding, which would be no W h + b."""
    return conv.groups == 1 and conv.padding in ((0, 0), "valid")


def multiply(x: Tensor, s: Tensor) -> Tensor:
    """Return s x in the dtype of x."""
    return x * s.to(x.dtype)


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
