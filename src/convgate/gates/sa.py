"""SA: "SA-Net: Shuffle Attention for Deep Convolutional Neural Networks", Zhang & Yang 2021.

https://arxiv.org/abs/2102.00240
"""

import torch
from torch import Tensor, nn

from convgate.gates.base import GATES, Gate, statistics_dtype
from convgate.gates.divisors import require_divisor
from convgate.kernels.float16 import matched, scaled, widened


@GATES.register("sa")
class SA(Gate):
    """Half of each group gated by channel, half by position; then the channels are shuffled.

        first half:   s = sigmoid(w_c mean_hw(x) + b_c)
        second half:  s = sigmoid(w_s GN(x) + b_s)
        y = shuffle(s * x)

    The shuffle interleaves the first and the last C / 2 channels. It makes the module more than a
    product, so `forward` is overridden; `gate` returns s, before the shuffle. All groups share one
    set of 6 C / (2 groups) parameters; both w start at 0 and both b at 1.

    A constant channel has 1 / sqrt(eps) in its gradient, which in float16 is infinite from about
    x = 1e4.

    Shape: x (N, C, H, W) -> y (N, C, H, W); s is (N, C, H, W).
    Source: arXiv 2102.00240, section 3; the GroupNorm (one channel a group) with an affine of its
        own beside w_s and b_s, and all starting values, as in wofmanaf/SA-Net.

    Args:
        channels: C.
        groups: Number of groups, each split into two halves.

    Raises:
        InputError: if 2 * groups does not divide C.
    """

    is_product = False

    def __init__(self, channels: int, *, groups: int = 64) -> None:
        super().__init__(channels)
        require_divisor("SA", channels, "groups", groups, factor=2)
        half = channels // (2 * groups)
        self.groups = groups
        self.channel_weight = nn.Parameter(torch.zeros(half))
        self.channel_bias = nn.Parameter(torch.ones(half))
        self.spatial_weight = nn.Parameter(torch.zeros(half))
        self.spatial_bias = nn.Parameter(torch.ones(half))
        self.norm = nn.GroupNorm(half, half)

    def gate(self, x: Tensor) -> Tensor:
        parts = torch.unflatten(widened(x), 1, (self.groups, 2, -1))  # (N, groups, 2, half, H, W)
        first, second = parts.unbind(2)
        z = first.mean((3, 4), keepdim=True, dtype=statistics_dtype(x))
        weight, bias = self.channel_weight[:, None, None], self.channel_bias[:, None, None]
        channel = torch.sigmoid(weight * z + bias).expand_as(first)
        weight, bias = self.spatial_weight[:, None, None], self.spatial_bias[:, None, None]
        spatial = torch.sigmoid(weight * self.normalise(second) + bias)
        return torch.stack([matched(channel, x), matched(spatial, x)], 2).flatten(1, 3)

    def normalise(self, x: Tensor) -> Tensor:
        """Apply the GroupNorm to (N, groups, half, H, W), for any number of positions."""
        dtype = statistics_dtype(x)
        mean = x.mean((3, 4), keepdim=True, dtype=dtype)
        centred = x - mean
        variance = centred.square().mean((3, 4), keepdim=True)
        normal = centred * torch.rsqrt(variance + self.norm.eps)
        return normal * self.norm.weight[:, None, None] + self.norm.bias[:, None, None]

    def forward(self, x: Tensor) -> Tensor:
        y = torch.unflatten(scaled(x, self.gate(x)), 1, (2, -1)).transpose(1, 2).flatten(1, 2)
        last = x.is_contiguous(memory_format=torch.channels_last)
        return y.contiguous(memory_format=torch.channels_last) if last else y
