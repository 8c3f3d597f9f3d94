# mypy: ignore-errors
# ruff: noqa: PLR0913 - a kernel takes every pointer
"""Strips and their product in one pass each; see `convgate.kernels.strip_gate`.

A program takes one sample, a block of channels, a block of columns, and tiles of rows one after
the other. Where several programs share a row or a column each writes its part, summed outside.
"""

from dataclasses import dataclass
from math import ceil

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton import next_power_of_2

from convgate.kernels.fused.launch import PROGRAMS, TILE, dense, is_last, launch, like, read, unit


@dataclass(frozen=True)
class StripWalk:
    """Tiles over (N, C, H, W): `parts` is how many programs share a column."""

    size: tuple[int, ...]
    blocks: tuple[int, int, int]
    parts: int
    steps: int
    last: bool

    @property
    def counts(self) -> tuple[int, int]:
        """Blocks of channels and of columns."""
        return ceil(self.size[1] / self.blocks[0]), ceil(self.size[3] / self.blocks[2])

    @property
    def grid(self) -> tuple[int]:
        return (self.size[0] * self.counts[0] * self.counts[1] * self.parts,)

    @property
    def shape(self) -> tuple[int, ...]:
        """What a kernel is told: C, H, W, channel blocks, column blocks, parts, steps."""
        return *self.size[1:], *self.counts, self.parts, self.steps

    @property
    def meta(self) -> dict[str, object]:
        blocks = dict(zip(("BC", "BH", "BW"), self.blocks, strict=True))
        length = self.size[1] if self.last else self.size[3]
        return {**blocks, "LAST": self.last, "UNIT": unit(length), "num_warps": 4}

    def buffers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return room for the parts of the rows (N, column blocks, C, H) and of the columns."""
        n, c, h, w = self.size
        return (
            x.new_empty((n, self.counts[1], c, h), dtype=torch.float32),
            x.new_empty((n, self.parts, c, w), dtype=torch.float32),
        )


def _walk(x: Tensor) -> StripWalk:
    n, c, h, w = x.shape
    last = is_last(x)
    if last:
        block_c = min(next_power_of_2(c), 32)
        block_w = min(next_power_of_2(w), 32)
        block_h = min(next_power_of_2(h), TILE // (block_c * block_w))
    else:
        block_w = min(next_power_of_2(w), 256)
        block_h = min(next_power_of_2(h), TILE // 2 // block_w)
        block_c = min(next_power_of_2(c), TILE // (block_h * block_w))
    tiles = ceil(h / block_h)
    programs = n * ceil(c / block_c) * ceil(w / block_w)
    steps = ceil(tiles / min(tiles, ceil(PROGRAMS / programs)))
    return StripWalk((n, c, h, w), (block_c, block_h, block_w), ceil(tiles / steps), steps, last)


@triton.jit
def _place(
    shape, BC: tl.constexpr, BW: tl.constexpr, LAST: tl.constexpr, UNIT: tl.constexpr
):  # fmt: skip
    """Return C, H, W and steps; and this program's sample, part, column block, c and w."""
    channels, height, width, c_blocks, w_blocks, parts, steps = shape
    if UNIT > 1:  # the same number, and the compiler sees what divides it
        if LAST:
            channels = channels // UNIT * UNIT
        else:
            width = width // UNIT * UNIT
    program = tl.program_id(0)
    part, rest = program % parts, program // parts
    w_block, rest = rest % w_blocks, rest // w_blocks
    c = rest % c_blocks * BC + tl.arange(0, BC)
    w = w_block * BW + tl.arange(0, BW)
    return channels, height, width, steps, (rest // c_blocks).to(tl.int64), part, w_block, c, w


@triton.jit
def _tile(n, c, h, w, channels, height, width, LAST: tl.constexpr):
    """Return the offsets of a tile (c, h, w), and which of them lie in the map."""
    inside = (c < channels)[:, None, None] & (h < height)[None, :, None]
    inside = inside & (w < width)[None, None, :]
    start = n * channels * height * width
    c, h, w = c.to(tl.int64)[:, None, None], h.to(tl.int64)[None, :, None], w[None, None, :]
    if LAST:
        return start + h * width * channels + w * channels + c, inside
    return start + c * height * width + h * width + w, inside


@triton.jit
def _strip(n, c, at, channels, length):
    """Return the offsets of a strip's numbers in (N, C, length), and which exist."""
    spot = n * channels * length + c[:, None] * length + at[None, :]
    return spot, (c < channels)[:, None] & (at < length)[None, :]


@triton.jit
def _strips(
    x, rows, columns, shape,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr, LAST: tl.constexpr, UNIT: tl.constexpr,
):  # fmt: skip
    channels, height, width, steps, n, part, w_block, c, w = _place(shape, BC, BW, LAST, UNIT)
    w_blocks, parts = shape[4], shape[5]
    total = tl.zeros([BC, BW], tl.float32)
    for step in range(steps):
        h = (part * steps + step) * BH + tl.arange(0, BH)
        spot, inside = _tile(n, c, h, w, channels, height, width, LAST)
        v = read(x, spot, inside)
        row, fits = _strip(n * w_blocks + w_block, c, h, channels, height)
        tl.store(rows + row, tl.sum(v, 2) / width, mask=fits)
        total += tl.sum(v, 1)
    column, fits_w = _strip(n * parts + part, c, w, channels, width)
    tl.store(columns + column, total / height, mask=fits_w)


@triton.jit
def _spread(
    drows, dcolumns, dx, shape,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr, LAST: tl.constexpr, UNIT: tl.constexpr,
):  # fmt: skip
    channels, height, width, steps, n, part, _block, c, w = _place(shape, BC, BW, LAST, UNIT)
    column, fits_w = _strip(n, c, w, channels, width)
    across = read(dcolumns, column, fits_w)[:, None, :] / height
    for step in range(steps):
        h = (part * steps + step) * BH + tl.arange(0, BH)
        spot, inside = _tile(n, c, h, w, channels, height, width, LAST)
        row, fits = _strip(n, c, h, channels, height)
        down = read(drows, row, fits)[:, :, None] / width
        tl.store(dx + spot, down + across, mask=inside)


@triton.jit
def _product(
    x, s_h, s_w, y, shape,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr, LAST: tl.constexpr, UNIT: tl.constexpr,
):  # fmt: skip
    channels, height, width, steps, n, part, _block, c, w = _place(shape, BC, BW, LAST, UNIT)
    column, fits_w = _strip(n, c, w, channels, width)
    across = read(s_w, column, fits_w)[:, None, :]
    for step in range(steps):
        h = (part * steps + step) * BH + tl.arange(0, BH)
        spot, inside = _tile(n, c, h, w, channels, height, width, LAST)
        row, fits = _strip(n, c, h, channels, height)
        down = read(s_h, row, fits)[:, :, None]
        tl.store(y + spot, read(x, spot, inside) * (down * across), mask=inside)


@triton.jit
def _product_backward(
    x, dy, s_h, s_w, dx, drows, dcolumns, shape,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr, LAST: tl.constexpr, UNIT: tl.constexpr,
):  # fmt: skip
    channels, height, width, steps, n, part, w_block, c, w = _place(shape, BC, BW, LAST, UNIT)
    w_blocks, parts = shape[4], shape[5]
    column, fits_w = _strip(n, c, w, channels, width)
    across = read(s_w, column, fits_w)[:, None, :]
    total = tl.zeros([BC, BW], tl.float32)
    for step in range(steps):
        h = (part * steps + step) * BH + tl.arange(0, BH)
        spot, inside = _tile(n, c, h, w, channels, height, width, LAST)
        row, fits = _strip(n, c, h, channels, height)
        down = read(s_h, row, fits)[:, :, None]
        g = read(dy, spot, inside)
        tl.store(dx + spot, g * (down * across), mask=inside)
        g *= read(x, spot, inside)
        row, fits = _strip(n * w_blocks + w_block, c, h, channels, height)
        tl.store(drows + row, tl.sum(g * across, 2), mask=fits)
        total += tl.sum(g * down, 1)
    column, fits_w = _strip(n * parts + part, c, w, channels, width)
    tl.store(dcolumns + column, total, mask=fits_w)


@torch.library.custom_op("convgate::strips", mutates_args=())
def strips(x: Tensor) -> tuple[Tensor, Tensor]:
    plan = _walk(x)
    rows, columns = plan.buffers(x)
    launch(_strips, plan, dense(x), rows, columns)
    return rows.sum(1), columns.sum(1)


@strips.register_fake
def _(x: Tensor) -> tuple[Tensor, Tensor]:
    n, c, h, w = x.shape
    dtype = torch.float32
    return x.new_empty((n, c, h), dtype=dtype), x.new_empty((n, c, w), dtype=dtype)


@torch.library.custom_op("convgate::strips_backward", mutates_args=())
def strips_backward(x: Tensor, drows: Tensor, dcolumns: Tensor) -> Tensor:
    """Return the gradient of x, of which only the size and the memory format are used."""
    dx = like(x)
    launch(_spread, _walk(x), drows.contiguous(), dcolumns.contiguous(), dx)
    return dx


@strips_backward.register_fake
def _(x: Tensor, drows: Tensor, dcolumns: Tensor) -> Tensor:
    return like(x)


strips.register_autograd(
    lambda ctx, drows, dcolumns: strips_backward(*ctx.saved_tensors, drows, dcolumns),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
)


@torch.library.custom_op("convgate::strip_gate", mutates_args=())
def strip_gate(x: Tensor, s_h: Tensor, s_w: Tensor) -> Tensor:
    y = like(x)
    launch(_product, _walk(x), dense(x), s_h.contiguous(), s_w.contiguous(), y)
    return y


@strip_gate.register_fake
def _(x: Tensor, s_h: Tensor, s_w: Tensor) -> Tensor:
    return like(x)


@torch.library.custom_op("convgate::strip_gate_backward", mutates_args=())
def strip_gate_backward(
    x: Tensor, s_h: Tensor, s_w: Tensor, dy: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    dx, plan = like(x), _walk(x)
    drows, dcolumns = plan.buffers(x)
    maps = dense(x), dense(dy, x), s_h.contiguous(), s_w.contiguous()
    launch(_product_backward, plan, *maps, dx, drows, dcolumns)
    return dx, drows.sum(1).to(s_h.dtype), dcolumns.sum(1).to(s_w.dtype)


@strip_gate_backward.register_fake
def _(x: Tensor, s_h: Tensor, s_w: Tensor, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return like(x), s_h.new_empty(s_h.shape), s_w.new_empty(s_w.shape)


strip_gate.register_autograd(
    lambda ctx, dy: strip_gate_backward(*ctx.saved_tensors, dy),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
)
