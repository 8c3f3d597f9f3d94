"""Start any gate as the exact identity."""

import torch
from torch import Tensor, nn

from convgate.gates import Gate


class IdentityStart(nn.Module):
    """A gate blended in by one learned number that starts at zero.

        y = (1 + alpha (gate(x) - 1)) x,    alpha = 0 at the start

    y equals x bit for bit for every finite gate; alpha receives gradient at the first step and
    the gate's own parameters after it. A published module that is more than a product (shuffle,
    shift) is blended as y = x + alpha (f(x) - x). At alpha = 1 the gate is the paper's.

    Shape: x (N, C, H, W) -> y (N, C, H, W).
    Source: the rule of ReZero (arXiv 2003.04887) applied to the gate's distance from one.

    Args:
        gate: The gate to blend in; its own parameters are left as they are.
    """

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate
        self.alpha = nn.Parameter(torch.zeros(()))

    @property
    def channels(self) -> int:
        return self.gate.channels

    def forward(self, x: Tensor) -> Tensor:
        alpha = self.alpha.to(x.dtype)
        if not self.gate.is_product:
            return x + alpha * (self.gate(x) - x)
        return x * (1 + alpha * (self.gate.gate(x).to(x.dtype) - 1))


def start_as_identity(gate: Gate) -> nn.Module:
    """Return the gate itself where its parameters can make y = x, else the blend."""
    return gate if gate.identity_() else IdentityStart(gate)
