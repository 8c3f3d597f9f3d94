"""EAN's statistics, its own affine part and its weights as one affine map before the sigmoid.

    alpha w (gamma (x - m) r + beta) + delta = a x + b,    r = 1 / sqrt(v + eps)
    a = (alpha w gamma) r,    b = (alpha w beta + delta) - m a

with m and v the mean and variance of a channel of x, so x is read once for them and once for
sigmoid(a x + b) x. It holds for any numbers; the parameters' part is computed once.
"""

import torch
from torch import Tensor, nn

from convgate.folding.net import Net, numel
from convgate.gates import EAN, Gate
from convgate.gates.base import statistics_dtype
from convgate.insertion import IdentityStart

IDENTITY = "EAN as one affine map before the sigmoid"


class AffineEAN(Gate):
    """EAN with its parameters folded into a slope and a shift for each channel.

        s = sigmoid(a x + b),    a = slope / sqrt(var_hw(x) + eps),    b = shift - mean_hw(x) a

    Shape: x (N, C, H, W) -> y (N, C, H, W); s is (N, C, H, W).
    Source: AAAI 2024, eq. 6-9, as in `EAN`.

    Args:
        gate: The gate to fold.
    """

    slope: Tensor
    shift: Tensor

    def __init__(self, gate: EAN) -> None:
        super().__init__(gate.channels)
        self.eps = gate.eps
        weight = gate.alpha * gate.gamma * (gate.energy(gate.gamma) + gate.eps).rsqrt()
        shift = weight * gate.beta + gate.delta
        for name, value in (("slope", weight * gate.gamma), ("shift", shift)):
            self.register_buffer(name, value.detach().repeat(gate.groups)[:, None, None])

    def gate(self, x: Tensor) -> Tensor:
        dtype = statistics_dtype(x)
        wide = x.to(dtype)
        var, mean = torch.var_mean(wide, (2, 3), correction=0, keepdim=True)
        a = self.slope.to(dtype) * (var + self.eps).rsqrt()
        b = self.shift.to(dtype) - mean * a
        return torch.addcmul(b, wide, a).sigmoid_()

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(x).to(x.dtype).mul_(x)


def fold_ean(net: Net) -> None:
    """Fold the parameters of every EAN, blended in or not."""
    for step, module in net.steps(nn.Module):
        if isinstance(module, EAN):
            net.swap(step, AffineEAN(module))
        elif isinstance(module, IdentityStart) and isinstance(module.gate, EAN):
            blended = IdentityStart(AffineEAN(module.gate))
            blended.alpha = module.alpha
            net.swap(step, blended)
        else:
            continue
        net.did(step.target, IDENTITY, 7 * numel(step), 5 * numel(step))
    net.settle()
