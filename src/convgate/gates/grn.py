"""GRN: global response normalisation of "ConvNeXt V2", Woo et al. 2023.

https://arxiv.org/abs/2301.00808
"""

import torch
from torch import Tensor, nn

from convgate.gates.base import GATES, Gate, statistics_dtype
from convgate.kernels.float16 import scaled, widened


@GATES.register("grn")
class GRN(Gate):
    """Each channel scaled by its norm against the mean norm, and shifted; starts as identity.

        n_c = |x_c| / (mean_c(|x_c|) + eps),    |x_c| = sqrt(sum_hw(x_c^2))
        y = (1 + gamma n) * x + beta

    The shift makes it more than a product, so `forward` is overridden; `gate` is 1 + gamma n.

    The scale has no bound: in float16, y beyond 65504 is infinite.

    Shape: x (N, C, H, W) -> y (N, C, H, W); the gate is (N, C, 1, 1). Published for channels-last
        tensors and written here for NCHW.
    Source: arXiv 2301.00808, eq. 1-3 and Algorithm 1; gamma = beta = 0 at the start and eps as in
        facebookresearch/ConvNeXt-V2, where it is outside the root.

    Args:
        channels: C.
        eps: Added to the mean norm.
    """

    is_product = False

    def __init__(self, channels: int, *, eps: float = 1e-6) -> None:
        super().__init__(channels)
        self.eps = eps
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def gate(self, x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=(2, 3), dtype=statistics_dtype(x))  # (N, C)
        n = norm / (norm.mean(1, keepdim=True) + self.eps)
        return (1 + self.gamma * n)[:, :, None, None]

    def forward(self, x: Tensor) -> Tensor:
        y = scaled(widened(x), self.gate(x))
        return (y + self.beta[:, None, None].to(y.dtype)).to(x.dtype)

    def constant_(self) -> float:
        nn.init.zeros_(self.gamma)
        nn.init.zeros_(self.beta)
        return 1.0
