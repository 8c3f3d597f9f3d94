"""SELN: "A Latency-Efficient Integration of Channel Attention for ConvNets", Park et al. 2025.

https://doi.org/10.32604/cmc.2025.059966
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convgate.errors import InputError
from convgate.gates.base import GATES, hidden_width
from convgate.gates.pooled import MeanGate
from convgate.kernels.float16 import widened


@GATES.register("seln")
class SELN(MeanGate):
    """Squeeze-and-excitation with layer normalisation in place of the sigmoid.

        s = LN(W2 relu(W1 mean_hw(x) + b1) + b2),    y = s * x

    The scale has both signs and zero mean, so a fresh SELN is not the identity. The paper's
    equations show neither the biases nor eps; both are the released code's. A scale above one can
    take y out of float16's range.

    Shape: x (N, C, H, W) -> y (N, C, H, W); s is (N, C, 1, 1).
    Source: doi 10.32604/cmc.2025.059966, eq. 6-7; biases, reduction and eps as in oto-q/SELNeXt.

    Args:
        channels: C.
        reduction: C divided by the hidden width.
        divisor: The hidden width is a multiple of this; the paper's MobileNetV3 has 8.
        eps: Added to the variance of s before the square root.

    Raises:
        InputError: if the hidden width would be zero, or an option is not positive.
    """

    first_layer = "squeeze"

    def __init__(
        self, channels: int, *, reduction: int = 16, divisor: int = 1, eps: float = 1e-5
    ) -> None:
        super().__init__(channels)
        hidden = hidden_width(self.name, channels, reduction, divisor=divisor)
        if channels < reduction:
            raise InputError(
                f"SELN: channels={channels} leaves no hidden unit at reduction={reduction}; "
                f"use reduction <= {channels}"
            )
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)
        self.norm = nn.LayerNorm(channels, eps=eps)

    def scale(self, mean: Tensor) -> Tensor:
        z = mean.flatten(1)  # (N, C)
        z = torch.relu(F.linear(z, widened(self.squeeze.weight), widened(self.squeeze.bias)))
        s = F.linear(z, widened(self.excite.weight), widened(self.excite.bias))
        weight, bias = widened(self.norm.weight), widened(self.norm.bias)
        return F.layer_norm(s, weight.shape, weight, bias, self.norm.eps)[:, :, None, None]

    def constant_(self) -> float:
        nn.init.zeros_(self.norm.weight)
        nn.init.ones_(self.norm.bias)
        return 1.0
