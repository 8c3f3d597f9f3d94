"""The block of HorNet: recursive gated convolution, then ConvNeXt's MLP.

https://arxiv.org/abs/2207.14284; the global-local filter is that of GFNet,
https://arxiv.org/abs/2107.00645, beside a depthwise convolution.
"""

import torch
import torch.nn.functional as F
from timm.layers.drop import DropPath
from timm.layers.norm import LayerNorm2d
from timm.models import register_notrace_module
from torch import Tensor, nn

from convgate.gates.base import statistics_dtype
from convgate.models.selnext_block import BlockOptions, GatedMlp
from convgate.models.trunk import NORM_EPS

SCALE = 1 / 3  # of the gates, in every published form
LAYER_SCALE = 1e-6  # at the start


@register_notrace_module
class GlobalLocalFilter(nn.Module):
    """A depthwise convolution on half of the channels, a learned spectrum on the other half.

        a, b = split(LN(x));    y = LN(interleave(dw3x3(a), irfft2(K rfft2(b))))

    K is a complex number for each channel and frequency of a map of ``side`` x ``side``; for
    other maps it is resized bilinearly, corner to corner.

    Shape: x (N, C, H, W) with C even -> y (N, C, H, W).
    Source: arXiv 2207.14284, section 3.3; norms, half channels and resizing as in
        raoyongming/HorNet, hornet.py.

    Args:
        channels: C.
        side: H and W that K is for, in pixels.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.out_channels = channels
        half = channels // 2
        self.pre_norm = LayerNorm2d(channels, NORM_EPS)
        self.conv_dw = nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False)
        self.spectrum = nn.Parameter(torch.empty(half, side, side // 2 + 1, 2))
        self.post_norm = LayerNorm2d(channels, NORM_EPS)
        nn.init.trunc_normal_(self.spectrum, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        near, far = self.pre_norm(x).chunk(2, 1)
        near = self.conv_dw(near)
        size = far.shape[2:]
        far = torch.fft.rfft2(far.to(statistics_dtype(far)), norm="ortho")
        far = torch.fft.irfft2(far * self.kernel(far), s=size, norm="ortho").to(near.dtype)
        return self.post_norm(torch.stack([near, far], 2).flatten(1, 2))

    def kernel(self, frequencies: Tensor) -> Tensor:
        """Return K, complex, for a map with these ``frequencies`` (N, C / 2, H, W // 2 + 1)."""
        k = self.spectrum.to(frequencies.real.dtype)
        if k.shape[1:3] != frequencies.shape[2:]:
            k = k.permute(3, 0, 1, 2)  # (C / 2, H, W, 2) -> (2, C / 2, H, W)
            k = F.interpolate(k, frequencies.shape[2:], mode="bilinear", align_corners=True)
            k = k.permute(1, 2, 3, 0)
        return torch.view_as_complex(k.contiguous())


class GnConv(nn.Module):
    """Recursive gated convolution of a given order: each step gates twice as many channels.

        p_0, q = split(W_in x);    q_0 ... q_{n-1} = split(f(q) / 3)
        p_1 = p_0 q_0;    p_{k+1} = (W_k p_k) q_k;    y = W_out p_n

    p_0 and q_0 have C / 2^(n-1) channels, p_n and q_{n-1} have C; f is a depthwise 7x7
    convolution or a `GlobalLocalFilter`.

    Shape: x (N, C, H, W) -> y (N, C, H, W).
    Source: arXiv 2207.14284, eq. 3-5; the scale of 1/3 as in raoyongming/HorNet, hornet.py.

    Args:
        channels: C, a multiple of 2^(order - 1).
        order: n.
        side: That of the global-local filter; 0 for the 7x7 convolution.
    """

    def __init__(self, channels: int, order: int, side: int = 0) -> None:
        super().__init__()
        self.scale = SCALE
        self.widths = [channels >> step for step in reversed(range(order))]
        mixed = sum(self.widths)
        self.proj_in = nn.Conv2d(channels, 2 * channels, 1)
        if side:
            self.mix: nn.Module = GlobalLocalFilter(mixed, side)
        else:
            self.mix = nn.Conv2d(mixed, mixed, 7, padding=3, groups=mixed)
        self.steps = nn.ModuleList(
            nn.Conv2d(narrow, wide, 1)
            for narrow, wide in zip(self.widths, self.widths[1:], strict=False)
        )
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        p, q = self.proj_in(x).split([self.widths[0], sum(self.widths)], 1)
        gates = (self.mix(q) * self.scale).split(self.widths, 1)
        p = p * gates[0]
        for place, step in enumerate(self.steps, 1):
            p = step(p) * gates[place]
        return self.proj_out(p)


class HorNetBlock(nn.Module):
    """Two residual branches, each with its norm and layer scale.

        z = x + gamma1 gnconv(LN(x));    y = z + gamma2 W2 gelu(W1 LN(z))

    Shape: x (N, C, H, W) -> y (N, C, H, W).
    Source: arXiv 2207.14284, Figure 2; eps and layer scale as in raoyongming/HorNet, hornet.py.

    Args:
        channels: C.
        order: That of the recursive gated convolution.
        side: That of its global-local filter; 0 for none.
        drop_path: Probability that training skips a branch for a sample.
    """

    def __init__(self, channels: int, order: int, side: int = 0, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = LayerNorm2d(channels, NORM_EPS)
        self.gnconv = GnConv(channels, order, side)
        self.gamma1 = nn.Parameter(torch.full((channels, 1, 1), LAYER_SCALE))
        self.norm2 = nn.LayerNorm(channels, NORM_EPS)
        self.mlp = GatedMlp(channels, BlockOptions(gate="none"))
        self.gamma2 = nn.Parameter(torch.full((channels,), LAYER_SCALE))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.gamma1 * self.gnconv(self.norm1(x)))
        y = self.mlp(self.norm2(x.permute(0, 2, 3, 1))) * self.gamma2  # (N, H, W, C)
        return self.drop_path(y.permute(0, 3, 1, 2)) + x
