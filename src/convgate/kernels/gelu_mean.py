"""GELU and its spatial mean: the first thing a gate asks of a hidden feature map."""

import torch
import torch.nn.functional as F
from torch import Tensor

from convgate.kernels.path import takes_fused


def reference(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return y = gelu(x), and its mean over the positions in float32 or better."""
    y = F.gelu(x)
    return y, y.flatten(2).mean(2, dtype=torch.promote_types(x.dtype, torch.float32))


def gelu_mean(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return GELU and its spatial mean: one read and one write of x where the path is fused.

        y = x Phi(x),    m = mean_p(y)

    The backward pass reads x and the gradient of y, writes that of x, and saves x alone. Folded
    networks call it. SELNeXt's block does without: `selnext_expand` has both at the end of
    its product and reads no x.

    Shape: x (N, C, ...) -> y like x; m (N, C), float32 for half precision.
    Source: arXiv 1606.08415, eq. 1 (GELU); doi 10.32604/cmc.2025.059966, eq. 6 (the squeeze).
    """
    if takes_fused(x, "gelu_mean"):
        from convgate.kernels.fused.gelu_mean import gelu_mean as fused

        y, mean = fused(x)
        return y, mean
    return reference(x)
