"""Follow the channel axis of a tensor from step to step, through permutations and scales."""

from typing import Any

from torch import Tensor, nn

from convgate.folding.net import Net, Step, shape, sole_user
from convgate.folding.pointwise import factors, multiply, permutation


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
