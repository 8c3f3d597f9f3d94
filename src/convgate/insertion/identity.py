"""Start any gate as the exact identity."""

import torch
from torch import Tensor, nn

from convgate.gates import Gate, PooledGate
from convgate.kernels.float16 import matched, scaled, widened


class IdentityStart(nn.Module):
    """A gate whose output is x at the start, and what it takes for that.

    Args:
        gate: The gate.
    """

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    @property
    def channels(self) -> int:
        return self.gate.channels

    def applied(self, scale: Tensor, factors: int = 1) -> Tensor:
        """Return the scale that x is multiplied by.

        Args:
            scale: The gate's own scale, or one factor of it.
            factors: How many factors there are.
        """
        raise NotImplementedError


class Rescaled(IdentityStart):
    """A gate whose last layer starts at zero, over the constant that its scale then is.

        y = (gate(x) / c) x,    gate(x) = c for every x at the start

    A sigmoid of zero is 1/2, so it is doubled; two of them are taken four times. y equals x bit
    for bit. The last layer receives gradient at the first step, all else after it, and every
    number of that layer moves the scale: it leaves the identity sooner than a `Blend`.

    Shape: x (N, C, H, W) -> y (N, C, H, W).
    Source: the zero last scale of residual blocks (arXiv 1706.02677, section 5.1) for a gate.

    Args:
        gate: The gate, which has been made constant.
        constant: c, what `Gate.constant_` returned.
    """

    def __init__(self, gate: Gate, constant: float) -> None:
        super().__init__(gate)
        self.gain = 1 / constant

    def applied(self, scale: Tensor, factors: int = 1) -> Tensor:
        return scale * self.gain ** (1 / factors)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.gate, PooledGate):
            first, *others = self.gate.scales(*self.gate.pool(x))
            return self.gate.multiply(x, self.applied(first), *others)
        return scaled(x, self.applied(self.gate.gate(x)))

    def extra_repr(self) -> str:
        return f"gain={self.gain:g}"


class Blend(IdentityStart):
    """A gate blended in by one learned number that starts at zero.

        y = (1 + alpha (gate(x) - 1)) x,    alpha = 0 at the start

    y equals x bit for bit for every finite gate; alpha receives gradient at the first step and
    the gate's own parameters after it. A published module that is more than a product (shuffle,
    shift) is blended as y = x + alpha (f(x) - x). At alpha = 1 the gate is the paper's. It suits
    every gate, but alpha is one number, and an optimizer moves a number by about its rate.

    Shape: x (N, C, H, W) -> y (N, C, H, W).
    Source: the rule of ReZero (arXiv 2003.04887) applied to the gate's distance from one.

    Args:
        gate: The gate to blend in; its own parameters are left as they are.
    """

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate)
        self.alpha = nn.Parameter(torch.zeros(()))

    def applied(self, scale: Tensor, factors: int = 1) -> Tensor:
        return 1 + self.alpha.to(scale.dtype) * (scale - 1)

    def forward(self, x: Tensor) -> Tensor:
        if not self.gate.is_product:
            wide = widened(x)
            moved = self.alpha.to(wide.dtype) * (self.gate(x).to(wide.dtype) - wide)
            return (wide + moved).to(x.dtype)
        return scaled(x, self.applied(matched(self.gate.gate(x), x)))


def start_as_identity(gate: Gate) -> nn.Module:
    """Return the gate itself where its parameters can make y = x, else rescaled or blended in."""
    constant = gate.constant_()
    if constant is None:
        return Blend(gate)
    return gate if constant == 1 else Rescaled(gate, constant)
