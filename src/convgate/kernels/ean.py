"""EAN's gate: each position weighed by its own normalised value."""

import torch
from torch import Tensor

from convgate.kernels.float16 import scaled, widened
from convgate.kernels.path import takes_fused


def scale(x: Tensor, slope: Tensor, shift: Tensor, eps: float) -> Tensor:
    """Return s of `ean`, in the dtype of the slope."""
    x = widened(x)
    var, mean = torch.var_mean(x.to(slope.dtype), (2, 3), correction=0, keepdim=True)
    slope, shift = slope[:, None, None], shift[:, None, None]
    return torch.sigmoid((x - mean) * (slope * (var + eps).rsqrt()) + shift)


def reference(x: Tensor, slope: Tensor, shift: Tensor, eps: float) -> Tensor:
    """Return s x, operator by operator."""
    return scaled(x, scale(x, slope, shift, eps))


def ean(x: Tensor, slope: Tensor, shift: Tensor, eps: float) -> Tensor:
    """Scale x by its own normalised value: one read and one write where a plane fits on chip.

        s = sigmoid(slope (x - mean_hw(x)) / sqrt(var_hw(x) + eps) + shift),    y = s x

    A larger plane is read twice. Statistics are float32 whatever x is. The backward pass saves x
    and two numbers for each sample and channel.

    Shape: x (N, C, H, W); slope, shift (C,), float32 for half precision -> y (N, C, H, W).
    Source: AAAI 2024, EAN, eq. 7-9.

    Args:
        x: The feature map.
        slope: What the normalised value is multiplied by.
        shift: What is added to it.
        eps: Added to the variance before the square root.
    """
    if takes_fused(x, "ean"):
        from convgate.kernels.fused.ean import ean as fused

        y: Tensor = fused(x, slope, shift, eps)[0]
        return y
    return reference(x, slope, shift, eps)
