# mypy: ignore-errors
# ruff: noqa: PLR0913 - a kernel takes every pointer
"""The mean cosine of all pairs of channels; see `convgate.kernels.cosine_distance`."""

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
def _lengths(
    x, peaks, norms, shape,
    BC: tl.constexpr, BP: tl.constexpr, LAST: tl.constexpr, UNIT: tl.constexpr,
):  # fmt: skip
    """Each channel's peak, and its norm over that peak, rescaled whenever the peak rises."""
    channels, positions, steps, n, _chunk, c = place(shape, BC, LAST, UNIT)
    known = c < channels
    peak = tl.zeros([BC], tl.float32)
    squares = tl.zeros([BC], tl.float32)
    for step in range(steps):
        p = step * BP + tl.arange(0, BP)
        inside = known[:, None] & (p < positions)[None, :]
        v = read(x, at(n, c, p, channels, positions, LAST), inside)
        highest = tl.maximum(peak, tl.max(tl.abs(v), 1))
        divisor = tl.where(highest > 0.0, highest, 1.0)
        v = v / divisor[:, None]
        shrunk = peak / divisor
        squares = squares * shrunk * shrunk + tl.sum(v * v, 1)
        peak = highest
    tl.store(peaks + n * channels + c, peak, mask=known)
    tl.store(norms + n * channels + c, tl.sqrt(squares), mask=known)


@triton.jit
def _unit(v, peak, norm):
    """Return v / |v|, and 0 for a channel of zeros."""
    return v / tl.where(peak > 0.0, peak, 1.0) / tl.where(norm > 0.0, norm, 1.0)


@triton.jit
def _directions(
    x, peaks, norms, means, shape,
    BC: tl.constexpr, BP: tl.constexpr, LAST: tl.constexpr, UNIT: tl.constexpr,
):  # fmt: skip
    """The mean of the unit vectors. The walk is turned: its channels are the positions."""
    positions, channels, steps, n, _chunk, p = place(shape, BC, LAST, UNIT)
    known = p < positions
    total = tl.zeros([BC, BP], tl.float32)
    for step in range(steps):
        c = step * BP + tl.arange(0, BP)
        there = c < channels
        peak = read(peaks, n * channels + c, there)[None, :]
        norm = read(norms, n * channels + c, there)[None, :]
        spot = at(n, p, c, positions, channels, LAST)
        total += _unit(read(x, spot, known[:, None] & there[None, :]), peak, norm)
    tl.store(means + n * positions + p, tl.sum(total, 1) / channels, mask=known)


@triton.jit
def _backward(
    dcosine, x, means, peaks, norms, dx, shape,
    BC: tl.constexpr, BP: tl.constexpr, LAST: tl.constexpr, UNIT: tl.constexpr,
):  # fmt: skip
    channels, positions, steps, n, _chunk, c = place(shape, BC, LAST, UNIT)
    known = c < channels
    peak = read(peaks, n * channels + c, known)[:, None]
    norm = read(norms, n * channels + c, known)[:, None]
    along = tl.zeros([BC], tl.float32)
    for step in range(steps):
        p = step * BP + tl.arange(0, BP)
        inside = known[:, None] & (p < positions)[None, :]
        direction = _unit(read(x, at(n, c, p, channels, positions, LAST), inside), peak, norm)
        mean = read(means, n * positions + p, p < positions)[None, :]
        along += tl.sum(direction * mean, 1)
    factor = 2.0 * tl.load(dcosine + n) / channels
    for step in range(steps):
        p = step * BP + tl.arange(0, BP)
        inside = known[:, None] & (p < positions)[None, :]
        spot = at(n, c, p, channels, positions, LAST)
        direction = _unit(read(x, spot, inside), peak, norm)
        mean = read(means, n * positions + p, p < positions)[None, :]
        g = _unit(factor * (mean - direction * along[:, None]), peak, norm)
        tl.store(dx + spot, tl.where(peak > 0.0, g, 0.0), mask=inside)


@torch.library.custom_op("convgate::cosine", mutates_args=())
def cosine(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the mean cosine, the mean unit vector, and each channel's peak and scaled norm."""
    (n, c, p), last = size_of(x), is_last(x)
    maps, peaks = dense(x), x.new_empty((n, c), dtype=torch.float32)
    norms, means = torch.empty_like(peaks), x.new_empty((n, p), dtype=torch.float32)
    launch(_lengths, walk((n, c, p), last, whole=True), maps, peaks, norms)
    launch(_directions, walk((n, p, c), not last, whole=True), maps, peaks, norms, means)
    return means.square().sum(1), means, peaks, norms


@cosine.register_fake
def _(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    n, c, p = size_of(x)
    peaks = x.new_empty((n, c), dtype=torch.float32)
    means = x.new_empty((n, p), dtype=torch.float32)
    return means.new_empty(n), means, peaks, torch.empty_like(peaks)


@torch.library.custom_op("convgate::cosine_backward", mutates_args=())
def backward(dcosine: Tensor, x: Tensor, means: Tensor, peaks: Tensor, norms: Tensor) -> Tensor:
    dx, plan = like(x), walk(size_of(x), is_last(x), whole=True)
    launch(_backward, plan, dcosine.contiguous(), dense(x), means, peaks, norms, dx)
    return dx


@backward.register_fake
def _(dcosine: Tensor, x: Tensor, means: Tensor, peaks: Tensor, norms: Tensor) -> Tensor:
    return like(x)


def _save(ctx, inputs, output) -> None:
    _, means, peaks, norms = output
    ctx.mark_non_differentiable(means, peaks, norms)
    ctx.save_for_backward(*inputs, means, peaks, norms)


cosine.register_autograd(
    lambda ctx, dcosine, *_: backward(dcosine, *ctx.saved_tensors), setup_context=_save
)
