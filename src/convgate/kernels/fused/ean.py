# mypy: ignore-errors
# ruff: noqa: PLR0913 - a kernel takes every pointer
"""EAN in one read and one write; see `convgate.kernels.ean`."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from convgate.kernels.fused.launch import (
    at,
    dense,
    is_last,
    launch,
    like,
    place,
    read,
    size_of,
    walk,
)


@triton.jit
def _merge(v, inside, count, mean, squares, seen):
    """Add a tile to the means and the sums of squared deviations (Chan's update)."""
    own = tl.sum(v, 1) / count
    away = tl.where(inside, v - own[:, None], 0.0)
    delta = own - mean
    share = count / (seen + count)
    squares += tl.sum(away * away, 1) + delta * delta * (seen * share)
    return mean + delta * share, squares, seen + count


@triton.jit
def _forward(
    x, slope, shift, eps, y, means, roots, shape, FITS: tl.constexpr,
    BC: tl.constexpr, BP: tl.constexpr, LAST: tl.constexpr, UNIT: tl.constexpr,
):  # fmt: skip
    channels, positions, steps, n, _chunk, c = place(shape, BC, LAST, UNIT)
    known = c < channels
    a = read(slope, c, known)
    b = read(shift, c, known)[:, None]
    mean = tl.zeros([BC], tl.float32)
    squares = tl.zeros([BC], tl.float32)
    p = tl.arange(0, BP)
    if FITS:
        inside = known[:, None] & (p < positions)[None, :]
        spot = at(n, c, p, channels, positions, LAST)
        v = read(x, spot, inside)
        mean, squares, _ = _merge(v, inside, positions, mean, squares, 0)
        root = tl.rsqrt(squares / positions + eps)
        s = tl.sigmoid((v - mean[:, None]) * (a * root)[:, None] + b)
        tl.store(y + spot, v * s, mask=inside)
    else:
        seen = 0
        for start in range(0, steps * BP, BP):
            inside = known[:, None] & (start + p < positions)[None, :]
            v = read(x, at(n, c, start + p, channels, positions, LAST), inside)
            count = tl.minimum(positions - start, BP)
            mean, squares, seen = _merge(v, inside, count, mean, squares, seen)
        root = tl.rsqrt(squares / positions + eps)
        for start in range(0, steps * BP, BP):
            inside = known[:, None] & (start + p < positions)[None, :]
            spot = at(n, c, start + p, channels, positions, LAST)
            v = read(x, spot, inside)
            s = tl.sigmoid((v - mean[:, None]) * (a * root)[:, None] + b)
            tl.store(y + spot, v * s, mask=inside)
    tl.store(means + n * channels + c, mean, mask=known)
    tl.store(roots + n * channels + c, root, mask=known)


@triton.jit
def _slopes(x, dy, spot, inside, mean, root, a, b):
    """Return, of one tile: the normalised x, dy s, and the gradient before the sigmoid."""
    v, g = read(x, spot, inside), read(dy, spot, inside)
    normed = (v - mean[:, None]) * root[:, None]
    s = tl.sigmoid(a[:, None] * normed + b[:, None])
    return normed, g * s, g * v * s * (1.0 - s)


@triton.jit
def _backward(
    dy, x, slope, shift, means, roots, dx, dslopes, dshifts, shape, FITS: tl.constexpr,
    BC: tl.constexpr, BP: tl.constexpr, LAST: tl.constexpr, UNIT: tl.constexpr,
):  # fmt: skip
    channels, positions, steps, n, _chunk, c = place(shape, BC, LAST, UNIT)
    known = c < channels
    a, b = read(slope, c, known), read(shift, c, known)
    mean, root = read(means, n * channels + c, known), read(roots, n * channels + c, known)
    p = tl.arange(0, BP)
    if FITS:
        inside = known[:, None] & (p < positions)[None, :]
        spot = at(n, c, p, channels, positions, LAST)
        normed, direct, dz = _slopes(x, dy, spot, inside, mean, root, a, b)
        dshift, dslope = tl.sum(dz, 1), tl.sum(dz * normed, 1)  # outside, dy and so dz are 0
        pull = (dshift[:, None] + normed * dslope[:, None]) / positions
        tl.store(dx + spot, direct + (a * root)[:, None] * (dz - pull), mask=inside)
    else:
        dslope = tl.zeros([BC], tl.float32)
        dshift = tl.zeros([BC], tl.float32)
        for start in range(0, steps * BP, BP):
            inside = known[:, None] & (start + p < positions)[None, :]
            spot = at(n, c, start + p, channels, positions, LAST)
            normed, _direct, dz = _slopes(x, dy, spot, inside, mean, root, a, b)
            dshift += tl.sum(dz, 1)
            dslope += tl.sum(dz * normed, 1)
        for start in range(0, steps * BP, BP):
            inside = known[:, None] & (start + p < positions)[None, :]
            spot = at(n, c, start + p, channels, positions, LAST)
            normed, direct, dz = _slopes(x, dy, spot, inside, mean, root, a, b)
            pull = (dshift[:, None] + normed * dslope[:, None]) / positions
            tl.store(dx + spot, direct + (a * root)[:, None] * (dz - pull), mask=inside)
    tl.store(dslopes + n * channels + c, dslope, mask=known)
    tl.store(dshifts + n * channels + c, dshift, mask=known)


@torch.library.custom_op("convgate::ean", mutates_args=())
def ean(x: Tensor, slope: Tensor, shift: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return y, and each plane's mean and reciprocal standard deviation."""
    y, plan = like(x), walk(size_of(x), is_last(x), whole=True)
    mean = x.new_empty(x.shape[:2], dtype=torch.float32)
    root = torch.empty_like(mean)
    affine = slope.contiguous(), shift.contiguous(), eps
    launch(_forward, plan, dense(x), *affine, y, mean, root, FITS=plan.steps == 1)
    return y, mean, root


@ean.register_fake
def _(x: Tensor, slope: Tensor, shift: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    mean = x.new_empty(x.shape[:2], dtype=torch.float32)
    return like(x), mean, torch.empty_like(mean)


@torch.library.custom_op("convgate::ean_backward", mutates_args=())
def backward(
    dy: Tensor, x: Tensor, slope: Tensor, shift: Tensor, mean: Tensor, root: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, and of the slope and shift for each sample and channel."""
    dx, dslope, dshift = like(x), torch.empty_like(mean), torch.empty_like(mean)
    plan = walk(size_of(x), is_last(x), whole=True)
    saved = dense(dy, x), dense(x), slope.contiguous(), shift.contiguous(), mean, root
    launch(_backward, plan, *saved, dx, dslope, dshift, FITS=plan.steps == 1)
    return dx, dslope, dshift


@backward.register_fake
def _(
    dy: Tensor, x: Tensor, slope: Tensor, shift: Tensor, mean: Tensor, root: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return like(x), torch.empty_like(mean), torch.empty_like(mean)


def _save(ctx, inputs, output) -> None:
    x, slope, shift, _ = inputs
    _, mean, root = output
    ctx.mark_non_differentiable(mean, root)
    ctx.save_for_backward(x, slope, shift, mean, root)


def _gradients(ctx, dy: Tensor, *_: object) -> tuple[Tensor | None, ...]:
    _, slope, shift, _, _ = ctx.saved_tensors
    dx, dslope, dshift = backward(dy, *ctx.saved_tensors)
    return dx, dslope.sum(0).to(slope.dtype), dshift.sum(0).to(shift.dtype), None


ean.register_autograd(_gradients, setup_context=_save)
