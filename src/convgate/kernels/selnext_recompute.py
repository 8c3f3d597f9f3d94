"""The second half of SELNeXt's block without its hidden features in memory, for inference.

The gate needs their mean over all positions before the second product may begin. Between the two
they are not kept but computed again, tile by tile: the first product runs twice, and of the 4 C
numbers a position none is written or read.
"""

from torch import Tensor

from convgate.kernels.path import takes_fused
from convgate.kernels.selnext_block import cast, reference_expand, reference_project

_MAX_BYTES = 1024  # of a position's channels, rounded up to a power of two: what a tile can hold


def fits(x: Tensor) -> bool:
    """Tell whether a tile holds all channels of x (N, ..., C): 512 in half precision, else 256."""
    return (1 << (x.shape[-1] - 1).bit_length()) * x.element_size() <= _MAX_BYTES


def reference_squeeze(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return mean_p(gelu(W1 x + b1)), operator by operator."""
    return reference_expand(x, weight, bias)[1]


def selnext_squeeze(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the spatial mean of the hidden features, which are not written.

        m = mean_p(gelu(W1 x + b1))

    It has no gradient where it is fused.

    Shape: x (N, ..., C), W1 (K, C), b1 (K,) -> m (N, K), float32 or better.
    Source: doi 10.32604/cmc.2025.059966, section 3 and eq. 6 (the squeeze).
    """
    if takes_fused(x, "selnext_squeeze"):
        from convgate.kernels.fused.selnext_block import squeeze as fused

        mean: Tensor = fused(*cast(x, weight, bias))
        return mean
    return reference_squeeze(x, weight, bias)


def reference_recompute(
    x: Tensor,
    scale: Tensor,
    expansion: tuple[Tensor, Tensor],
    projection: tuple[Tensor, Tensor],
    gamma: Tensor | None = None,
    shortcut: Tensor | None = None,
) -> Tensor:
    """Return gamma (W2 (s gelu(W1 x + b1)) + b2) + r, operator by operator."""
    h, _ = reference_expand(x, *expansion)
    return reference_project(h, scale, *projection, gamma, shortcut)


def selnext_recompute(
    x: Tensor,
    scale: Tensor,
    expansion: tuple[Tensor, Tensor],
    projection: tuple[Tensor, Tensor],
    gamma: Tensor | None = None,
    shortcut: Tensor | None = None,
) -> Tensor:
    """Return the block's output from its input, with hidden features that stay on chip.

        y = gamma (W2 (s gelu(W1 x + b1)) + b2) + r

    Fused, it reads x and r and writes y, 3 C numbers a position, and has no gradient.

    Shape: x (N, ..., C), s (N, K), W1 (K, C), b1 (K,), W2 (C, K), b2 and gamma (C,), r like x
        -> y like r.
    Source: doi 10.32604/cmc.2025.059966, section 3; gamma is ConvNeXt's layer scale.

    Args:
        x: What the block's depthwise convolution gave; fused, one that `fits`.
        scale: s.
        expansion: W1 and b1.
        projection: W2 and b2.
        gamma: None for one.
        shortcut: r; None for zero.
    """
    if takes_fused(x, "selnext_recompute") and fits(x):
        from convgate.kernels.fused.selnext_recompute import recompute as fused

        x, *weights = cast(x, *expansion, *projection)
        y: Tensor = fused(x, scale.to(x.dtype), *weights, gamma, shortcut)
        return y
    return reference_recompute(x, scale, expansion, projection, gamma, shortcut)
