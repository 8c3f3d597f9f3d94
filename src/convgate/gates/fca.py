"""FcaNet: "Frequency Channel Attention Networks", Qin et al. 2021.

https://arxiv.org/abs/2012.11879; the authors' code: https://github.com/cfzd/FcaNet
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convgate.errors import InputError
from convgate.gates.base import GATES, hidden_width, statistics_dtype
from convgate.gates.divisors import require_divisor
from convgate.gates.pooled import PooledGate

GRID = 7
# The best of the 7 x 7 frequencies, alone in the network, best first: (along H, along W).
TOP = (
    *((0, 0), (0, 1), (6, 0), (0, 5), (0, 2), (1, 0), (1, 2), (4, 0)),
    *((5, 0), (1, 6), (3, 0), (0, 4), (0, 6), (0, 3), (3, 5), (2, 2)),
    *((4, 6), (6, 3), (3, 3), (5, 3), (5, 5), (2, 1), (6, 1), (5, 2)),
    *((5, 4), (3, 2), (3, 1), (4, 1), (2, 3), (2, 0), (6, 5), (1, 3)),
)


@GATES.register("fca")
class FCA(PooledGate):
    """Squeeze-and-excitation that squeezes each part of the channels by another frequency.

        z_c = sum_hw(pool(x)_chw D_f(c)(h, w)),    D_(u,v)(h, w) = b_u(h) b_v(w)
        b_u(p) = cos(pi u (p + 1/2) / size) sqrt((1 if u = 0 else 2) / size)
        s = sigmoid(W2 relu(W1 z)),    y = s * x

    The channels fall into equal parts, one frequency each, and pool averages adaptively to
    size x size. Frequency (0, 0) gives size times the mean, not the mean. The frequencies are
    those of a 7 x 7 grid times size // 7, so a size below 7 would make them all zero.

    The paper has size 56, 28, 14 and 7 for the four stages of a ResNet; the default here is 7 for
    any site, which the pooling makes valid for every H and W.

    Shape: x (N, C, H, W) -> y (N, C, H, W); s is (N, C, 1, 1).
    Source: arXiv 2012.11879, section 3; frequencies and layers without biases as in cfzd/FcaNet,
        model/layer.py.

    Args:
        channels: C.
        reduction: C divided by the hidden width, which is at least 1.
        frequencies: How many of the paper's best frequencies, 1 to 32 ("top16": 16).
        size: Side of the pooled square in pixels, 7 or more.

    Raises:
        InputError: if frequencies does not divide C, or an option is out of range.
    """

    basis: Tensor

    def __init__(
        self, channels: int, *, reduction: int = 16, frequencies: int = 16, size: int = GRID
    ) -> None:
        super().__init__(channels)
        if not 1 <= frequencies <= len(TOP):
            raise InputError(f"FCA: frequencies={frequencies} must be 1 to {len(TOP)}")
        if size < GRID:
            raise InputError(f"FCA: size={size} must be {GRID} or more")
        require_divisor("FCA", channels, "frequencies", frequencies)
        hidden = hidden_width("FCA", channels, reduction)
        self.size = size
        self.squeeze = nn.Linear(channels, hidden, bias=False)
        self.excite = nn.Linear(hidden, channels, bias=False)
        self.register_buffer("basis", dct_basis(frequencies, size), persistent=False)

    def pool(self, x: Tensor) -> tuple[Tensor, ...]:
        return (F.adaptive_avg_pool2d(x, self.size).to(statistics_dtype(x)),)

    def scales(self, *pooled: Tensor) -> tuple[Tensor, ...]:
        grid = pooled[0]
        parts = torch.unflatten(grid, 1, (len(self.basis), -1))  # (N, F, C/F, size, size)
        z = torch.einsum("nfchw,fhw->nfc", parts, self.basis.to(grid.dtype)).flatten(1)
        z = torch.relu(F.linear(z, self.squeeze.weight.to(z.dtype)))
        s = torch.sigmoid(F.linear(z, self.excite.weight.to(z.dtype)))
        return (s[:, :, None, None],)

    def constant_(self) -> float:
        nn.init.zeros_(self.excite.weight)
        return 0.5


def dct_basis(frequencies: int, size: int) -> Tensor:
    """Return the cosines D of the best frequencies, (frequencies, size, size)."""
    position = torch.arange(size, dtype=torch.float64) + 0.5
    index = torch.tensor(TOP[:frequencies], dtype=torch.float64) * (size // GRID)  # (F, 2)
    waves = torch.cos(math.pi / size * index[:, :, None] * position)
    waves = waves * ((1 + (index > 0).double()) / size).sqrt()[:, :, None]
    return (waves[:, 0, :, None] * waves[:, 1, None, :]).to(torch.get_default_dtype())
