"""GCT: "Gated Channel Transformation for Visual Recognition", Yang et al. 2020.

https://arxiv.org/abs/1909.11519
"""

import torch
from torch import Tensor, nn

from convgate.errors import unknown
from convgate.gates.base import GATES, Gate, statistics_dtype

NORMS = ("l1", "l2")


@GATES.register("gct")
class GCT(Gate):
    """Channels compete by their norms, each with three parameters of its own; starts as identity.

        l2:  e = alpha sqrt(sum_hw(x^2) + eps),    n = gamma / sqrt(mean_c(e^2) + eps)
        l1:  e = alpha sum_hw(|x|),                n = gamma / (mean_c(|e|) + eps)
        s = 1 + tanh(e n + beta),    y = s * x

    s is between 0 and 2: in float16, y of a map above 32752 can be infinite.

    Shape: x (N, C, H, W) -> y (N, C, H, W); s is (N, C, 1, 1).
    Source: arXiv 1909.11519, section 3 (embedding, normalisation, gating); the l1 form and eps
        beside the mean over all channels, not beside the sum, as in z-x-yang/GCT. Starts at
        alpha = 1, gamma = beta = 0. Published before every convolution; the authors put no
        weight decay on beta.

    Args:
        channels: C.
        norm: `l2` or `l1`.
        eps: Added where the equations show it.

    Raises:
        InputError: for an unknown norm.
    """

    def __init__(self, channels: int, *, norm: str = "l2", eps: float = 1e-5) -> None:
        super().__init__(channels)
        if norm not in NORMS:
            raise unknown("norm of GCT", norm, NORMS)
        self.norm = norm
        self.eps = eps
        self.alpha = nn.Parameter(torch.ones(channels))
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def gate(self, x: Tensor) -> Tensor:
        values = x.to(statistics_dtype(x))
        if self.norm == "l2":
            e = self.alpha * (values.square().sum((2, 3)) + self.eps).sqrt()  # (N, C)
            level = (e.square().mean(1, keepdim=True) + self.eps).sqrt()
        else:
            e = self.alpha * values.abs().sum((2, 3))
            level = e.abs().mean(1, keepdim=True) + self.eps
        s = 1 + torch.tanh(e * (self.gamma / level) + self.beta)
        return s[:, :, None, None]

    def constant_(self) -> float:
        nn.init.ones_(self.alpha)
        nn.init.zeros_(self.gamma)
        nn.init.zeros_(self.beta)
        return 1.0
