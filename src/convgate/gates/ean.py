"""EAN: "An Efficient Attention Module Guided by Normalization for Deep Neural Networks", AAAI 2024.

The authors' code: https://github.com/TomLi515/EAN_AAAI
"""

import torch
from torch import Tensor, nn

from convgate.gates.base import GATES, Gate, statistics_dtype
from convgate.gates.divisors import require_divisor
from convgate.kernels.ean import ean, scale


@GATES.register("ean")
class EAN(Gate):
    """Each position weighed by its own normalised value and the normalisation's weights.

        w = gamma / sqrt(sum(gamma^2) + eps)
        s = sigmoid(alpha w (gamma (x - mean_hw(x)) / sqrt(var_hw(x) + eps) + beta) + delta)
        y = s * x

    The C channels are G groups of C/G, and one set of 4 C/G numbers (gamma, beta, alpha, delta)
    serves every group. Statistics are per sample and channel, with the biased variance. alpha and
    delta start at zero, so s is 0.5 everywhere at first, and gamma and beta learn from the second
    step on. The paper advises 8 groups for light networks and 64 for large ones; the default is 8,
    because it divides most usual widths from 16 up, where 64 fits neither 16 nor 160 channels.

    A channel that is constant has 1 / sqrt(eps) in its gradient, which for x of 1e4 can leave
    float16's range.

    The authors' code divides by the mean of gamma^2 where the paper's equation 6 has the sum;
    this class follows the paper, `EANCode` the code.

    Shape: x (N, C, H, W) -> y (N, C, H, W); s is (N, C, H, W).
    Source: AAAI 2024, eq. 6-9; shared groups, instance statistics and eps as in
        TomLi515/EAN_AAAI, models/EAN_ResNet.py.

    Args:
        channels: C.
        groups: G, the number of groups that share one set of parameters.
        eps: Added to the variance, and to the sum of gamma^2, before the square root.

    Raises:
        InputError: if G does not divide C.
    """

    def __init__(self, channels: int, *, groups: int = 8, eps: float = 1e-5) -> None:
        super().__init__(channels)
        require_divisor(self.name, channels, "groups", groups)
        self.groups = groups
        self.eps = eps
        width = channels // groups
        self.gamma = nn.Parameter(torch.ones(width))
        self.beta = nn.Parameter(torch.zeros(width))
        self.alpha = nn.Parameter(torch.zeros(width))
        self.delta = nn.Parameter(torch.zeros(width))

    def energy(self, gamma: Tensor) -> Tensor:
        """Return what the weights gamma are normalised by, before eps and the square root."""
        return gamma.square().sum()

    def gate(self, x: Tensor) -> Tensor:
        return scale(x, *self._affine(x), self.eps)

    def forward(self, x: Tensor) -> Tensor:
        return ean(x, *self._affine(x), self.eps)

    def constant_(self) -> float:
        nn.init.zeros_(self.alpha)
        nn.init.zeros_(self.delta)
        return 0.5

    def _affine(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the normalised x is multiplied by, and what is added: (C,) each."""
        dtype = statistics_dtype(x)
        gamma = self.gamma.to(dtype)
        weight = self.alpha * gamma * (self.energy(gamma) + self.eps).rsqrt()
        slope = (weight * gamma).repeat(self.groups)
        return slope, (weight * self.beta + self.delta).repeat(self.groups)


@GATES.register("ean_code")
class EANCode(EAN):
    """EAN as its authors' code computes it, with the root mean square of gamma.

        w = gamma / sqrt(mean(gamma^2) + eps)

    All else is `EAN`: the weights are larger by sqrt(C/G).

    Shape: x (N, C, H, W) -> y (N, C, H, W); s is (N, C, H, W).
    Source: TomLi515/EAN_AAAI, models/EAN_ResNet.py, against eq. 6 of the AAAI 2024 paper. Its
        default there is 64 groups for ResNets and 16 for MobileNeXt.

    Args:
        channels: C.
        groups: G, the number of groups that share one set of parameters.
        eps: Added to the variance, and to the mean of gamma^2, before the square root.

    Raises:
        InputError: if G does not divide C.
    """

    def energy(self, gamma: Tensor) -> Tensor:
        return gamma.square().mean()
