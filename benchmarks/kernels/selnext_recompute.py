"""SELNeXt's block behind its depthwise convolution, its hidden features computed twice."""

import torch
from case import Case, Make

from convgate.kernels.path import takes_fused
from convgate.kernels.selnext_recompute import fits
from convgate.models.selnext_block import BlockOptions, GatedMlp


def selnext_recompute(make: Make, n: int, c: int, side: int) -> Case:
    """Read x for the means; read x and the shortcut, write y. 4 C a position, and no gradient."""
    x, shortcut = make(n, c, side, side), make(n, c, side, side)
    mlp = GatedMlp(c, BlockOptions()).to(x.device, x.dtype)
    gamma = torch.ones(c, device=x.device, dtype=x.dtype)

    def run() -> object:
        y, r = x.permute(0, 2, 3, 1), shortcut.permute(0, 2, 3, 1)
        fused = takes_fused(y, "selnext_recompute") and fits(y)
        return mlp.recomputing(y, gamma, r) if fused else mlp(y) * gamma + r

    return Case(run, (x, shortcut), 4 * x.nbytes, 0, str(tuple(x.shape)))
