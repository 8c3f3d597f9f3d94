"""SimAM: "SimAM: A Simple, Parameter-Free Attention Module", Yang et al. 2021.

https://proceedings.mlr.press/v139/yang21o.html
"""

import torch
from torch import Tensor

from convgate.errors import InputError
from convgate.gates.base import GATES, Gate, statistics_dtype
from convgate.kernels.float16 import widened


@GATES.register("simam")
class SimAM(Gate):
    """A gate for every value from its squared distance to the channel's mean; no parameters.

        d = (x - mean_hw(x))^2,    v = sum_hw(d) / (H W - 1)
        s = sigmoid(d / (4 (v + lambda)) + 1/2),    y = s * x

    With a single position (H W = 1) the published division is 0 / 0; its distance is zero, so the
    gate is sigmoid(1/2) there, as it is in any constant channel.

    Shape: x (N, C, H, W) -> y (N, C, H, W); s is (N, C, H, W).
    Source: Yang et al., ICML 2021, eq. 5-6, whose inverse energy simplifies to the form above, as
        in ZjjConan/SimAM.

    Args:
        channels: C; the mathematics does not depend on it.
        energy_lambda: lambda, added to the variance.

    Raises:
        InputError: if lambda is not positive.
    """

    def __init__(self, channels: int, *, energy_lambda: float = 1e-4) -> None:
        super().__init__(channels)
        if energy_lambda <= 0:
            raise InputError(f"SimAM: energy_lambda={energy_lambda} must be above 0; use 1e-4")
        self.energy_lambda = energy_lambda

    def gate(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        x = widened(x)
        mean = x.mean((2, 3), keepdim=True, dtype=statistics_dtype(x))
        d = (x - mean).square()
        v = d.sum((2, 3), keepdim=True) / max(h * w - 1, 1)
        return torch.sigmoid(d / (4 * (v + self.energy_lambda)) + 0.5)
