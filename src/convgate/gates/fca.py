"""FcaNet: "Frequency Channel Attention Networks", Qin et al. 2021.

https://arxiv.org/abs/2012.11879; the authors' code: https://github.com/cfzd/FcaNet
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convgate.errors import InputError, unknown
from convgate.gates.base import GATES, hidden_width, statistics_dtype
from convgate.gates.divisors import require_divisor
from convgate.gates.pooled import PooledGate
from convgate.kernels.float16 import widened

GRID, MOST = 7, 32  # frequencies along an axis, and those of the longest selection
# All of the 7 x 7 frequencies by the accuracy of each alone, best first: (along H, along W).
RANKED = (
    *((0, 0), (0, 1), (6, 0), (0, 5), (0, 2), (1, 0), (1, 2), (4, 0), (5, 0), (1, 6), (3, 0)),
    *((0, 4), (0, 6), (0, 3), (3, 5), (2, 2), (4, 6), (6, 3), (3, 3), (5, 3), (5, 5), (2, 1)),
    *((6, 1), (5, 2), (5, 4), (3, 2), (3, 1), (4, 1), (2, 3), (2, 0), (6, 5), (1, 3), (6, 4)),
    *((5, 1), (2, 5), (6, 2), (4, 2), (1, 5), (5, 6), (4, 5), (4, 4), (2, 4), (1, 1), (4, 3)),
    *((2, 6), (3, 6), (3, 4), (1, 4), (6, 6)),
)
LOW = (  # the lowest ones, in the order of the authors' code
    *((0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (2, 1), (1, 2), (2, 2), (0, 3), (3, 0)),
    *((4, 0), (0, 4), (1, 3), (3, 1), (0, 5), (1, 4), (2, 3), (3, 2), (4, 1), (5, 0), (0, 6)),
    *((1, 5), (2, 4), (3, 3), (4, 2), (5, 1), (6, 0), (1, 6), (2, 5), (3, 4), (4, 3)),
)
SELECTIONS = {"top": RANKED[:MOST], "low": LOW, "bottom": RANKED[: -MOST - 1 : -1]}


@GATES.register("fca")
class FCA(PooledGate):
    """Squeeze-and-excitation that squeezes each part of the channels by another frequency.

        z_c = sum_hw(pool(x)_chw D_f(c)(h, w)),    D_(u,v)(h, w) = b_u(h) b_v(w)
        b_u(p) = cos(pi u (p + 1/2) / side) sqrt((1 if u = 0 else 2) / side)
        s = sigmoid(W2 relu(W1 z)),    y = s * x

    The channels fall into equal parts, one frequency each, and pool averages adaptively to the
    sides of size. On a square, frequency (0, 0) gives side times the mean, not the mean. The
    frequencies are those of a 7 x 7 grid times side // 7, so a side below 7 would leave zeros.

    The paper has size 56, 28, 14 and 7 for the four stages of a ResNet; the default here is 7 for
    any site, which the pooling makes valid for every H and W. Its FcaNet-TS has `top`, its
    FcaNet-LF `low`; `bottom` is in the authors' code alone, as "bot".

    Shape: x (N, C, H, W) -> y (N, C, H, W); s is (N, C, 1, 1).
    Source: arXiv 2012.11879, section 3; frequencies and layers without biases as in cfzd/FcaNet,
        model/layer.py.

    Args:
        channels: C.
        reduction: C divided by the hidden width, which is at least 1.
        frequencies: How many frequencies, 1 to 32 ("top16": 16).
        selection: Which ones: `top`, those best alone; `low`, the lowest; `bottom`, the worst.
        size: Sides of the pooled map in pixels, 7 or more: one for a square, or (H, W).

    Raises:
        InputError: if frequencies does not divide C, or an option is unknown or out of range.
    """

    basis: Tensor

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        frequencies: int = 16,
        selection: str = "top",
        size: int | Sequence[int] = GRID,
    ) -> None:
        super().__init__(channels)
        if not 1 <= frequencies <= MOST:
            raise InputError(f"FCA: frequencies={frequencies} must be 1 to {MOST}")
        if selection not in SELECTIONS:
            raise unknown("selection of FCA", selection, SELECTIONS)
        sides = (size, size) if isinstance(size, int) else tuple(size)
        if len(sides) != 2 or min(sides) < GRID:
            raise InputError(f"FCA: size={size} must be {GRID} or more, or two such sides")
        require_divisor("FCA", channels, "frequencies", frequencies)
        hidden = hidden_width("FCA", channels, reduction)
        self.size = sides
        self.squeeze = nn.Linear(channels, hidden, bias=False)
        self.excite = nn.Linear(hidden, channels, bias=False)
        basis = dct_basis(SELECTIONS[selection][:frequencies], *sides)
        self.register_buffer("basis", basis, persistent=False)

    def pool(self, x: Tensor) -> tuple[Tensor, ...]:
        return (F.adaptive_avg_pool2d(widened(x), self.size).to(statistics_dtype(x)),)

    def scales(self, *pooled: Tensor) -> tuple[Tensor, ...]:
        grid = pooled[0]
        parts = torch.unflatten(grid, 1, (len(self.basis), -1))  # (N, F, C/F, *size)
        z = torch.einsum("nfchw,fhw->nfc", parts, self.basis.to(grid.dtype)).flatten(1)
        z = torch.relu(F.linear(z, self.squeeze.weight.to(z.dtype)))
        return (torch.sigmoid(F.linear(z, self.excite.weight.to(z.dtype)))[:, :, None, None],)

    def constant_(self) -> float:
        nn.init.zeros_(self.excite.weight)
        return 0.5


def dct_basis(frequencies: Sequence[tuple[int, int]], height: int, width: int) -> Tensor:
    """Return the cosines D of frequencies on the 7 x 7 grid, (F, height, width)."""
    index = torch.tensor(frequencies, dtype=torch.float64)
    rows, columns = _waves(index[:, 0], height)[:, :, None], _waves(index[:, 1], width)[:, None]
    return (rows * columns).to(torch.get_default_dtype())


def _waves(index: Tensor, side: int) -> Tensor:
    """Return b_u(p) for u = ``index`` times side // 7, (F, side)."""
    index = index * (side // GRID)
    waves = torch.cos(math.pi / side * index[:, None] * (torch.arange(side) + 0.5))
    return waves * ((1 + (index > 0).double()) / side).sqrt()[:, None]
