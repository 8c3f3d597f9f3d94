"""What goes into and comes out of a gate's activation, seen while the gate runs its own maths."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from convgate.gates import Gate


@dataclass(frozen=True)
class ActivationKind:
    """A function that gates end with."""

    name: str
    limits: tuple[float, ...]  # the ends of its range, if it has some
    shift: float = 0.0  # its argument is larger than the value before it by this
    factor: float = 1.0  # its value is larger than what comes out by this


BOUNDED = {
    "sigmoid": ActivationKind("sigmoid", (0.0, 1.0)),
    "hardsigmoid": ActivationKind("h-sigmoid", (0.0, 1.0)),
    "tanh": ActivationKind("tanh", (-1.0, 1.0)),
}
RELU6 = {
    "relu6": ActivationKind("h-sigmoid", (0.0, 1.0), shift=3.0, factor=6.0)
}  # relu6(z + 3) / 6
NORMS = {"layer_norm": ActivationKind("LN", ())}
RANKS: Sequence[Mapping[str, ActivationKind]] = (BOUNDED, RELU6, NORMS)
"""The first of these that a gate calls is its activation; a relu6 before a sigmoid is not."""


@dataclass(frozen=True)
class ActivationCall:
    """One call of a gate's activation: z before, a after it, both (N, channels, positions)."""

    kind: ActivationKind
    before: Tensor
    after: Tensor


def run_watched(run: Callable[[], Tensor]) -> tuple[Tensor, list[ActivationCall]]:
    """Run a gate's forward pass; return its result and the calls of its activation, in order.

    A gate without any of the known functions, such as PdfAM's quotient, gives none.
    """
    with _Calls() as calls, torch.no_grad():
        result = run()
    for known in RANKS:
        found = [(known[name], z, a) for name, z, a in calls.seen if name in known]
        if found:
            return result, [
                ActivationCall(kind, by_channel(z - kind.shift), by_channel(a / kind.factor))
                for kind, z, a in found
            ]
    return result, []


def by_channel(values: Tensor) -> Tensor:
    """Return (N, channels, positions) of what a gate computes.

    Shape: (N, C), (N, 1, C) as ECA has it, (N, C, L), (N, C, H, W), or (N, groups, C / groups, H,
        W) as SA has it -> (N, C, positions).
    """
    if values.ndim == 2:
        return values[..., None]
    if values.ndim == 3:
        return values.transpose(1, 2) if values.shape[1] == 1 else values
    return values.flatten(-2).flatten(1, -2)


def scale_of(gate: nn.Module, x: Tensor) -> Tensor:
    """Run what makes a gate's scale: its plain mathematics, never a fused form of the product."""
    return gate.gate(x) if isinstance(gate, Gate) else gate.forward(x)  # without its hooks


class _Calls(TorchFunctionMode):
    """Keep argument and value of every call of a function that may be an activation."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, Tensor, Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "").removesuffix("_")
        if not any(name in known for known in RANKS):
            return func(*args, **(kwargs or {}))
        before = args[0].detach().clone()  # the function may work in place
        value = func(*args, **(kwargs or {}))
        self.seen.append((name, before.float(), value.detach().float()))
        return value
