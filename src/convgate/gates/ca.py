"""CA: "Coordinate Attention for Efficient Mobile Network Design", Hou et al. 2021.

https://arxiv.org/abs/2103.02907
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convgate.errors import InputError, unknown
from convgate.gates.base import GATES, hidden_width
from convgate.gates.pooled import StripGate
from convgate.kernels.float16 import apply_wide, matched
from convgate.kernels.strip_gate import strips

NORMS = ("batch", "group")


@GATES.register("ca_gn", norm="group")
@GATES.register("ca")
class CA(StripGate):
    """Two gates, one a row and one a column, from the means along the other axis.

        f = hswish(norm(W1 [mean_w(x), mean_h(x)])),    (f_h, f_w) = split(f)
        y = sigmoid(W_h f_h) * sigmoid(W_w f_w) * x

    One convolution and one norm see rows and columns together, as one vector of length H + W.

    In float16 a running variance above 65504, which a map of +-1,560 reaches with fresh weights, is
    infinite; `ca_gn` has none.

    Shape: x (N, C, H, W) -> y (N, C, H, W); the gates are (N, C, H, 1) and (N, C, 1, W).
    Source: arXiv 2103.02907, eq. 4-9; biases, the floor of 8 and h-swish (x relu6(x + 3) / 6) as
        in houqb/CoordAttention. `ca_gn` is the form with a GroupNorm in Table 2 of the ELA paper
        (arXiv 2403.01123); its counts fit no biases (`bias=False`), and its plain CA also no
        floor (`min_hidden=1`). That paper does not say how many groups: gcd(hidden, 4) is our
        choice, so that at the floor of 8 two channels still share their statistics.

    Args:
        channels: C.
        reduction: C divided by the hidden width.
        min_hidden: The hidden width is at least this.
        bias: Whether the three convolutions have one.
        norm: `batch` or `group`.
        num_groups: Of the GroupNorm; None takes gcd(hidden width, 4).

    Raises:
        InputError: for an unknown norm, a number of groups that does not divide the hidden
            width or goes without a GroupNorm, or a `reduction` or `min_hidden` below one.
    """

    first_layer = "squeeze"

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 32,
        min_hidden: int = 8,
        bias: bool = True,
        norm: str = "batch",
        num_groups: int | None = None,
    ) -> None:
        super().__init__(channels)
        hidden = hidden_width(self.name, channels, reduction, min_hidden)
        self.squeeze = nn.Conv2d(channels, hidden, 1, bias=bias)
        self.norm = make_norm(norm, hidden, num_groups)
        self.excite_h = nn.Conv2d(hidden, channels, 1, bias=bias)
        self.excite_w = nn.Conv2d(hidden, channels, 1, bias=bias)

    def pool(self, x: Tensor) -> tuple[Tensor, ...]:
        rows, columns = (matched(strip, x) for strip in strips(x))
        return rows[:, :, :, None], columns[:, :, None, :]

    def scales(self, *pooled: Tensor) -> tuple[Tensor, ...]:
        rows, columns = pooled  # (N, C, H, 1) and (N, C, 1, W)
        z = torch.cat([rows, columns.transpose(2, 3)], 2)  # (N, C, H + W, 1)
        f = F.hardswish(apply_wide(self.norm, apply_wide(self.squeeze, z)))
        f_h, f_w = torch.split(f, [rows.shape[2], columns.shape[3]], 2)
        a_h = torch.sigmoid(apply_wide(self.excite_h, f_h))
        a_w = torch.sigmoid(apply_wide(self.excite_w, f_w.transpose(2, 3)))
        return a_h, a_w

    def constant_(self) -> float:
        for layer in (self.excite_h, self.excite_w):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)
        return 0.25


def make_norm(norm: str, hidden: int, num_groups: int | None) -> nn.Module:
    if norm not in NORMS:
        raise unknown("norm of CA", norm, NORMS)
    if norm == "batch":
        if num_groups is not None:
            raise InputError(
                f"CA: num_groups={num_groups} belongs to a GroupNorm; use norm='group' or ca_gn"
            )
        return nn.BatchNorm2d(hidden)
    groups = math.gcd(hidden, 4) if num_groups is None else num_groups
    if groups < 1 or hidden % groups:
        raise InputError(
            f"CA: num_groups={groups} does not divide the {hidden} hidden channels; "
            f"use num_groups={math.gcd(hidden, max(groups, 1))}"
        )
    return nn.GroupNorm(groups, hidden)
