"""Gates that see their input only through means over positions, which a 1x1 convolution keeps."""

from functools import reduce

import torch
from torch import Tensor

from convgate.gates.base import Gate, statistics_dtype
from convgate.kernels.float16 import matched, scaled
from convgate.kernels.strip_gate import strip_gate


class PooledGate(Gate):
    """A gate that sees its input only through weighted means over positions.

        gate(x) = product of scales(*pool(x))

    `pool` treats every channel alike, so it exchanges with a 1x1 convolution, bias included:
    pool(W h + b) = W pool(h) + b. `convgate.folding` builds on that.

    Shape: x (N, C, H, W) -> each of pool(x) (N, C, H', W').

    Args:
        channels: C.

    Attributes:
        first_layer: Name of the linear layer that `scales` begins with, at every pooled position
            on its own; None where it begins with anything else.
        pools_mean: Whether `pool` gives the spatial mean and nothing else.
    """

    first_layer: str | None = None
    pools_mean = False

    def pool(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the means of x (N, C, H, W) that `scales` needs, each (N, C, H', W')."""
        raise NotImplementedError

    def scales(self, *pooled: Tensor) -> tuple[Tensor, ...]:
        """Return the factors of the scale from what `pool` gave; each broadcasts against x."""
        raise NotImplementedError

    def gate(self, x: Tensor) -> Tensor:
        return reduce(torch.mul, self.scales(*self.pool(x)))

    def multiply(self, x: Tensor, *scales: Tensor) -> Tensor:
        """Return x times every factor of its scale."""
        return scaled(x, reduce(torch.mul, scales))

    def forward(self, x: Tensor) -> Tensor:
        return self.multiply(x, *self.scales(*self.pool(x)))


class StripGate(PooledGate):
    """A pooled gate of two factors, a number a row (N, C, H, 1) and a number a column."""

    def multiply(self, x: Tensor, *scales: Tensor) -> Tensor:
        rows, columns = (matched(scale, x) for scale in scales)
        return strip_gate(x, rows.squeeze(3), columns.squeeze(2))


class MeanGate(PooledGate):
    """A gate that sees its input only through the mean of each channel.

        gate(x) = scale(mean_hw(x))

    Shape: x (N, C, H, W) -> mean (N, C, 1, 1) -> scale (N, C, 1, 1).

    Args:
        channels: C.
    """

    pools_mean = True

    def scale(self, mean: Tensor) -> Tensor:
        """Return the scale (N, C, 1, 1) that follows from the means (N, C, 1, 1)."""
        raise NotImplementedError

    def pool(self, x: Tensor) -> tuple[Tensor, ...]:
        return (mean_pool(x),)

    def scales(self, *pooled: Tensor) -> tuple[Tensor, ...]:
        return (self.scale(pooled[0]),)

    def gate(self, x: Tensor) -> Tensor:
        return self.scale(mean_pool(x))

    def forward(self, x: Tensor) -> Tensor:
        return scaled(x, self.gate(x))


def mean_pool(x: Tensor) -> Tensor:
    """Return the spatial mean (N, C, 1, 1), accumulated in float32 or better.

    It has the dtype of x, or float32 for float16.
    """
    return matched(x.mean((2, 3), keepdim=True, dtype=statistics_dtype(x)), x)
