"""SGE: "Spatial Group-wise Enhance", Li et al. 2019. https://arxiv.org/abs/1905.09646."""

import torch
from torch import Tensor, nn

from convgate.gates.base import GATES, Gate, statistics_dtype
from convgate.gates.divisors import require_divisor
from convgate.kernels.float16 import widened


@GATES.register("sge")
class SGE(Gate):
    """A spatial gate for each group: how alike each position is to the group's mean vector.

        t_p = sum_c mean_hw(x)_c x_cp,    t'_p = (t_p - mean(t)) / (std(t) + eps)
        s_p = sigmoid(weight t'_p + bias),    y = s * x

    `weight` starts at 0 and `bias` at 1, so every gate starts at sigmoid(1) = 0.731. With a single
    position t - mean(t) is zero and the gate is sigmoid(bias).

    Where t is constant its gradient holds 1 / eps and two powers of x, infinite in float16.

    Shape: x (N, C, H, W) -> y (N, C, H, W); s is (N, C, H, W), equal within a group.
    Source: arXiv 1905.09646, section 3. The paper's std is the biased one; the authors' code
        (implus/PytorchInsight) divides by H W - 1 and adds eps outside the root, taken here.

    Args:
        channels: C.
        groups: Number of groups; the authors use 64 in ResNets.
        eps: Added to the standard deviation.

    Raises:
        InputError: if the groups do not divide C.
    """

    def __init__(self, channels: int, *, groups: int = 64, eps: float = 1e-5) -> None:
        super().__init__(channels)
        require_divisor(self.name, channels, "groups", groups)
        self.groups = groups
        self.eps = eps
        self.weight = nn.Parameter(torch.zeros(groups))
        self.bias = nn.Parameter(torch.ones(groups))

    def gate(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        x, dtype = widened(x), statistics_dtype(x)
        z = x.mean((2, 3), keepdim=True, dtype=dtype)
        t = torch.unflatten(x * z, 1, (self.groups, -1)).sum(2)  # (N, groups, H, W)
        t = t - t.mean((2, 3), keepdim=True)
        # A vector norm has gradient 0 at 0, where a square root has none.
        norm = torch.linalg.vector_norm(t, dim=(2, 3), keepdim=True)
        std = norm / max(h * w - 1, 1) ** 0.5
        weight, bias = self.weight[:, None, None], self.bias[:, None, None]
        s = torch.sigmoid(weight * (t / (std + self.eps)) + bias)
        return s.repeat_interleave(self.channels // self.groups, 1)

    def constant_(self) -> float:
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)
        return 0.5
