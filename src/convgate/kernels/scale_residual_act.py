"""The end of a residual block with a channel gate: scale, add the shortcut, activate."""

import torch.nn.functional as F
from torch import Tensor

from convgate.errors import InputError, unknown
from convgate.kernels.path import takes_fused

ACTIVATIONS = ("none", "relu")


def reference(x: Tensor, scale: Tensor, shortcut: Tensor, act: str = "none") -> Tensor:
    """Return act(scale x + shortcut), operator by operator."""
    y = x * scale.to(x.dtype) + shortcut
    return F.relu(y) if act == "relu" else y


def scale_residual_act(x: Tensor, scale: Tensor, shortcut: Tensor, act: str = "none") -> Tensor:
    """Scale, add and activate: two reads and one write where the path is fused.

        y = act(s x + r)

    The backward pass reads the gradient and x (and y under `relu`, for its sign) and writes the
    gradients of x and r while it sums that of s; it saves nothing else. Blocks that
    `convgate.folding.fold` gave end in it on CUDA.

    Shape: x, shortcut (N, C, H, W); scale (N, C, 1, 1) or (1, C, 1, 1) -> y (N, C, H, W).
    Source: arXiv 1709.01507, figure 3 (a gate at the end of a residual block).

    Args:
        x: What the gate scales.
        scale: s.
        shortcut: r.
        act: `relu` or `none`.

    Raises:
        InputError: for another activation, or for shapes that do not fit x.
    """
    if act not in ACTIVATIONS:
        raise unknown("activation of scale_residual_act", act, ACTIVATIONS)
    n, c = x.shape[:2]
    if shortcut.shape != x.shape or tuple(scale.shape) not in ((n, c, 1, 1), (1, c, 1, 1)):
        raise InputError(
            f"scale_residual_act: scale {tuple(scale.shape)} and shortcut {tuple(shortcut.shape)} "
            f"do not fit x {tuple(x.shape)}; give ({n}, {c}, 1, 1) and the shape of x"
        )
    if takes_fused(x, "scale_residual_act"):
        from convgate.kernels.fused.scale_residual_act import scale_residual_act as fused

        return fused(x, scale.expand(n, c, 1, 1), shortcut, act == "relu")
    return reference(x, scale, shortcut, act)
