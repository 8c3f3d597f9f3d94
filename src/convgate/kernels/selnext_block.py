"""The second half of SELNeXt's block: two matrix products, everything else at their ends."""

import torch
import torch.nn.functional as F
from torch import Tensor

from convgate.kernels.gelu_mean import reference as reference_gelu_mean
from convgate.kernels.path import takes_fused


def reference_expand(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return gelu(W1 x + b1), and its mean over the positions, operator by operator."""
    h = F.linear(x, weight, bias)
    y, mean = reference_gelu_mean(h.movedim(-1, 1))
    return y.movedim(1, -1), mean


def selnext_expand(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return the hidden features and their spatial mean; fused, they are written once.

        h = gelu(W1 x + b1),    m = mean_p(h)

    The backward pass saves x alone and computes W1 x + b1 again.

    Shape: x (N, ..., C), W1 (K, C), b1 (K,) -> h (N, ..., K); m (N, K), float32 or better.
    Source: doi 10.32604/cmc.2025.059966, section 3 and eq. 6 (the squeeze).
    """
    if takes_fused(x, "selnext_expand"):
        from convgate.kernels.fused.selnext_block import expand as fused

        h, mean = fused(*cast(x, weight, bias))
        return h, mean
    return reference_expand(x, weight, bias)


def reference_project(
    h: Tensor,
    scale: Tensor,
    weight: Tensor,
    bias: Tensor,
    gamma: Tensor | None = None,
    shortcut: Tensor | None = None,
) -> Tensor:
    """Return gamma (W2 (s h) + b2) + r, operator by operator."""
    s = scale.to(h.dtype).view(len(h), *[1] * (h.ndim - 2), -1)
    y = F.linear(h * s, weight, bias)
    if gamma is not None:
        y = y * gamma
    return y if shortcut is None else y + shortcut


def selnext_project(
    h: Tensor,
    scale: Tensor,
    weight: Tensor,
    bias: Tensor,
    gamma: Tensor | None = None,
    shortcut: Tensor | None = None,
) -> Tensor:
    """Return the block's output from its hidden features; fused, these are read once.

        y = gamma (W2 (s h) + b2) + r

    The backward pass saves the arguments and neither s h nor the product.

    Shape: h (N, ..., K), s (N, K), W2 (C, K), b2 and gamma (C,), r (N, ..., C) -> y like r.
    Source: doi 10.32604/cmc.2025.059966, section 3; gamma is ConvNeXt's layer scale.

    Args:
        h: The hidden features.
        scale: s.
        weight: W2.
        bias: b2.
        gamma: None for one.
        shortcut: r; None for zero.
    """
    if takes_fused(h, "selnext_project"):
        from convgate.kernels.fused.selnext_block import project as fused

        h, weight, bias = cast(h, weight, bias)
        return fused(h, scale.to(h.dtype), weight, bias, gamma, shortcut)
    return reference_project(h, scale, weight, bias, gamma, shortcut)


def cast(x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
    """Return what a matrix product multiplies: autocast's dtype where it is on, else x's."""
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    return tuple(tensor.to(dtype) for tensor in (x, *weights))
