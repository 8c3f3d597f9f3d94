"""What ELA and CA do to a feature map: means along each axis, and a product with both strips."""

import torch
from torch import Tensor

from convgate.kernels.float16 import scaled
from convgate.kernels.path import takes_fused


def reference_strips(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means along W and along H, one read of x each."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    return x.mean(3, dtype=dtype), x.mean(2, dtype=dtype)


def strips(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return both strips of x from one read where the path is fused.

        rows = mean_w(x),    columns = mean_h(x)

    Shape: x (N, C, H, W) -> rows (N, C, H), columns (N, C, W); float32 for half precision.
    Source: arXiv 2103.02907, eq. 4-5; arXiv 2403.01123, eq. 1-2 (as true means).
    """
    if takes_fused(x, "strips"):
        from convgate.kernels.fused.strip_gate import strips as fused

        rows, columns = fused(x)
        return rows, columns
    return reference_strips(x)


def scale(s_h: Tensor, s_w: Tensor) -> Tensor:
    """Return s_h s_w (N, C, H, W), the scale that `reference` multiplies by."""
    return s_h[:, :, :, None] * s_w[:, :, None, :]


def reference(x: Tensor, s_h: Tensor, s_w: Tensor) -> Tensor:
    """Return s_h s_w x, the scale written out in between."""
    return scaled(x, scale(s_h, s_w))


def strip_gate(x: Tensor, s_h: Tensor, s_w: Tensor) -> Tensor:
    """Scale x by a row's and a column's number: one read and one write where the path is fused.

        y = s_h s_w x

    The backward pass reads x and the gradient once and saves x and the strips.

    Shape: x (N, C, H, W), s_h (N, C, H), s_w (N, C, W) -> y (N, C, H, W).
    Source: arXiv 2103.02907, eq. 9; arXiv 2403.01123, eq. 8.
    """
    if takes_fused(x, "strip_gate"):
        from convgate.kernels.fused.strip_gate import strip_gate as fused

        return fused(x, s_h, s_w)
    return reference(x, s_h, s_w)
