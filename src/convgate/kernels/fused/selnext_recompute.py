# mypy: ignore-errors
# ruff: noqa: PLR0913 - a kernel takes every pointer
"""Both products of a block in one kernel; see `convgate.kernels.selnext_recompute`.

A program holds some positions with all their channels. It takes the hidden features a few at a
time: the first product, GELU, the scale, and what they add to the second product.
"""

from math import ceil

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton import next_power_of_2

from convgate.kernels.fused.launch import INTERPRETED, gelu, read
from convgate.kernels.fused.selnext_block import finish, form_of, output_dtype

TILES = [(32, 4, 2), (32, 8, 2), (64, 8, 1), (64, 8, 2)]
CONFIGS = [
    triton.Config({"BH": hidden}, num_warps=warps, num_stages=stages)
    for hidden, warps, stages in TILES
]
if INTERPRETED:  # nothing to time there
    CONFIGS = [triton.Config({"BH": 16})]


@triton.autotune(CONFIGS, key=["depth", "hidden", "FORM"])
@triton.jit
def _recompute(
    x, scale, w1, b1, w2, b2, gamma, shortcut, y, positions, depth, hidden, GAMMA: tl.constexpr,
    SHORTCUT: tl.constexpr, FORM: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BC: tl.constexpr, BH: tl.constexpr,
):  # fmt: skip
    blocks = tl.cdiv(positions, BM)
    program = tl.program_id(0)
    n, c = (program // blocks).to(tl.int64), tl.arange(0, BC)
    rows = program % blocks * BM + tl.arange(0, BM)
    known = c < depth
    spot = (n * positions + rows.to(tl.int64))[:, None] * depth + c[None, :]
    a = tl.load(x + spot, mask=(rows < positions)[:, None] & known[None, :], other=0.0)
    total = tl.zeros([BM, BC], tl.float32)
    for start in range(0, hidden, BH):
        k = start + tl.arange(0, BH)
        inside = k < hidden
        mask = known[:, None] & inside[None, :]
        w = tl.load(w1 + k[None, :] * depth + c[:, None], mask=mask, other=0.0)
        v = tl.dot(a.to(FORM), w.to(FORM), input_precision=PRECISION)
        v = gelu(v + read(b1, k, inside)[None, :]).to(a.dtype)
        s = read(scale, n * hidden + k, inside)
        v = (v.to(tl.float32) * s[None, :]).to(a.dtype)  # rounded as the reference rounds
        mask = inside[:, None] & known[None, :]
        u = tl.load(w2 + c[None, :] * hidden + k[:, None], mask=mask, other=0.0)
        total = tl.dot(v.to(FORM), u.to(FORM), total, input_precision=PRECISION)
    finish(total, b2, gamma, shortcut, y, n, rows, c, positions, depth, GAMMA, SHORTCUT)


@torch.library.custom_op("convgate::selnext_recompute", mutates_args=())
def recompute(
    x: Tensor,
    scale: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    gamma: Tensor | None,
    shortcut: Tensor | None,
) -> Tensor:
    x, (hidden, depth) = x.contiguous(), w1.shape
    y = torch.empty_like(x, dtype=output_dtype(x, gamma, shortcut))
    positions, wide = x.shape[1:-1].numel(), max(next_power_of_2(depth), 16)
    rows = max(min(next_power_of_2(positions), 64 if wide <= 256 else 32), 16)
    form, precision = form_of(x)
    with torch.cuda.device_of(x):
        _recompute[(len(x) * ceil(positions / rows),)](
            x, *(each.contiguous() for each in (scale, w1, b1, w2, b2)),
            y if gamma is None else gamma, y if shortcut is None else shortcut.contiguous(), y,
            positions, depth, hidden, GAMMA=gamma is not None, SHORTCUT=shortcut is not None,
            FORM=form, PRECISION=precision, BM=rows, BC=wide, enable_fp_fusion=True,
        )  # fmt: skip
    return y


@recompute.register_fake
def _(
    x: Tensor,
    scale: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    gamma: Tensor | None,
    shortcut: Tensor | None,
) -> Tensor:
    dtype = output_dtype(x, gamma, shortcut)
    return torch.empty_like(x, dtype=dtype, memory_format=torch.contiguous_format)
