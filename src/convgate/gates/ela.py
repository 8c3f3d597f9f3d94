"""ELA: "Efficient Local Attention for Deep Convolutional Neural Networks", Xu and Wan 2024.

https://arxiv.org/abs/2403.01123
"""

import torch
from torch import Tensor, nn

from convgate.errors import InputError
from convgate.gates.base import GATES
from convgate.gates.divisors import require_divisor
from convgate.gates.pooled import StripGate
from convgate.kernels.float16 import matched
from convgate.kernels.strip_gate import strips


@GATES.register("ela")
@GATES.register("ela_t", kernel_size=5, num_groups=32, group_width=1)
@GATES.register("ela_b", kernel_size=7, num_groups=16, group_width=1)
@GATES.register("ela_s", kernel_size=5, num_groups=16, group_width=8)
@GATES.register("ela_l", kernel_size=7, num_groups=16, group_width=8)
class ELA(StripGate):
    """One small convolution along each axis of the image, normalised by groups.

        s_h = sigmoid(GN(conv(mean_w(x)))),    s_w = sigmoid(GN(conv(mean_h(x))))
        y = s_h * s_w * x

    One convolution without bias and one group norm serve both directions; the norm's statistics
    run over C/num_groups channels and the length of the direction at hand.

    Equations 7-8 name two convolutions, and equations 1-2 divide a sum over W by H; the paper's
    listing and parameter counts hold one shared convolution and true means, taken here. Table 4
    labels the row with 8 channels a group as T; section 3.3 is taken: T and B have depthwise
    convolutions, S and L 8 channels a group ("groups = C/8").

    Shape: x (N, C, H, W) -> y (N, C, H, W); s_h is (N, C, H, 1), s_w is (N, C, 1, W).
    Source: arXiv 2403.01123, eq. 1-2 and 7-8, figure 4 (the listing) and section 3.3 (the sizes).

    Args:
        channels: C.
        kernel_size: Taps of the convolution, odd.
        groups: Number of groups of the convolution; None leaves it to `group_width`.
        group_width: Channels in one group of the convolution, the same thing counted from the
            other side (groups = C / group_width), so that a size can be named for any C. With
            neither, the convolution is depthwise.
        num_groups: Groups of the group norm.
        eps: Added to the variance before the square root.

    Raises:
        InputError: if a group count does not divide C, `groups` and `group_width` disagree, or
            the kernel size is even.
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: int = 7,
        groups: int | None = None,
        group_width: int | None = None,
        num_groups: int = 16,
        eps: float = 1e-5,
    ) -> None:
        super().__init__(channels)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise InputError(f"ELA: kernel_size={kernel_size} must be odd; use {kernel_size + 1}")
        require_divisor("ELA", channels, "num_groups", num_groups)
        self.conv = nn.Conv1d(
            channels,
            channels,
            kernel_size,
            padding=kernel_size // 2,
            groups=_conv_groups(channels, groups, group_width),
            bias=False,
        )
        self.norm = nn.GroupNorm(num_groups, channels, eps=eps)

    def pool(self, x: Tensor) -> tuple[Tensor, ...]:
        rows, columns = strips(x)
        return rows[:, :, :, None], columns[:, :, None, :]

    def scales(self, *pooled: Tensor) -> tuple[Tensor, ...]:
        rows, columns = pooled  # (N, C, H, 1) and (N, C, 1, W)
        return self._direction(rows, 2), self._direction(columns, 3)

    def constant_(self) -> float:
        nn.init.zeros_(self.norm.weight)
        nn.init.zeros_(self.norm.bias)
        return 0.25

    def _direction(self, strip: Tensor, axis: int) -> Tensor:
        conv, dtype = self.conv, strip.dtype
        weight = conv.weight.to(dtype).unsqueeze(5 - axis)  # one tap on the axis of length 1
        padding = (*conv.padding, 0) if axis == 2 else (0, *conv.padding)
        z = nn.functional.conv2d(strip, weight, padding=padding, groups=conv.groups).to(dtype)
        return matched(torch.sigmoid(self.normalised(z)), conv.weight)

    def normalised(self, z: Tensor) -> Tensor:
        """Return the group norm of strips (N, C, H, 1) or (N, C, 1, W)."""
        norm = self.norm
        # nn.GroupNorm refuses one value per group (C = num_groups, H = 1, N = 1); this does not
        return torch.group_norm(
            z, norm.num_groups, norm.weight.to(z.dtype), norm.bias.to(z.dtype), norm.eps
        )


def _conv_groups(channels: int, groups: int | None, group_width: int | None) -> int:
    if group_width is not None:
        require_divisor("ELA", channels, "group_width", group_width)
        by_width = channels // group_width
        if groups not in (None, by_width):
            raise InputError(
                f"ELA: groups={groups} contradicts group_width={group_width}, which makes "
                f"{by_width} of {channels} channels; give one of them (gate 'ela' sets neither)"
            )
        return by_width
    if groups is None:
        return channels
    require_divisor("ELA", channels, "groups", groups)
    return groups
