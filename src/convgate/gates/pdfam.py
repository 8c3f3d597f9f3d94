"""PdfAM: "Less Is More Important: An Attention Module Guided by Probability Density Function".

Xie and Zhang, AAAI 2023, the form with one Gaussian; their code:
https://github.com/chuan1093/PdfAM
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convgate.gates.base import GATES, Gate, statistics_dtype


@GATES.register("pdfam")
class PdfAM(Gate):
    """Common values count less: the scale falls where the channel's density is high.

        p = exp(-softplus(width) (x - mu)^2 / (2 var)) / sqrt(2 pi var)
        s = 1 / (1 + softplus(eps) + softplus(coef) p),    y = s * x

    with mu and var = unbiased variance + 1e-4 over the positions of one channel of one sample;
    eps, coef and width are one number a channel and start at 0, 1 and 1. A single position
    (H = W = 1) has no unbiased variance; it counts as zero here, so var is 1e-4.

    Tables of other papers list it as free of parameters; the authors' code has these three per
    channel, and is taken.

    Shape: x (N, C, H, W) -> y (N, C, H, W); s is (N, C, H, W).
    Source: AAAI 2023, Gaussian form, as in chuan1093/PdfAM, pdfam_gau_module.py.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.eps = nn.Parameter(torch.zeros(channels))
        self.coef = nn.Parameter(torch.ones(channels))
        self.width = nn.Parameter(torch.ones(channels))

    def gate(self, x: Tensor) -> Tensor:
        x = x.to(statistics_dtype(x))
        eps, coef, width = (
            F.softplus(p.to(x.dtype))[:, None, None] for p in (self.eps, self.coef, self.width)
        )
        return 1 / (1 + eps + coef * self.density(x, width))

    def density(self, x: Tensor, width: Tensor) -> Tensor:
        """Return p for x (N, C, H, W) in the dtype of x; width is (C, 1, 1)."""
        lone = x.shape[2] * x.shape[3] == 1
        var, mean = torch.var_mean(x, (2, 3), correction=0 if lone else 1, keepdim=True)
        return gaussian(x, mean, var, width)


def gaussian(x: Tensor, mean: Tensor, var: Tensor, width: Tensor | float = 1.0) -> Tensor:
    """Return the density of the normal distribution at x, with 1e-4 added to the variance.

    ``width`` multiplies the exponent alone, so that it narrows the bell without raising it.
    """
    var = var + 1e-4
    return torch.exp((x - mean).square() * (-width / (2 * var))) * (2 * math.pi * var).rsqrt()
