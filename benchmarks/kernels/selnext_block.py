"""SELNeXt's block behind its depthwise convolution."""

import torch
from case import Case, Make

from convgate.kernels.path import takes_fused
from convgate.models.selnext_block import BlockOptions, GatedMlp


def selnext_block(make: Make, n: int, c: int, side: int) -> Case:
    """Read x and write h; read h and the shortcut, write y. 4 C of h: 11 C a position.

    Back: read dy, h, x, the gradient of h and write three of them; the products' weights are small.
    """
    x, shortcut = make(n, c, side, side), make(n, c, side, side)
    mlp = GatedMlp(c, BlockOptions()).to(x.device, x.dtype)
    gamma = torch.ones(c, device=x.device, dtype=x.dtype)

    def run() -> object:
        y, r = x.permute(0, 2, 3, 1), shortcut.permute(0, 2, 3, 1)
        return mlp.keeping(y, gamma, r) if takes_fused(x, "selnext_project") else mlp(y) * gamma + r

    leaves = x, shortcut, *mlp.parameters()
    return Case(run, leaves, 11 * x.nbytes, 22 * x.nbytes, str(tuple(x.shape)))
