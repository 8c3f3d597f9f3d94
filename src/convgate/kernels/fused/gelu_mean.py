# mypy: ignore-errors
# ruff: noqa: PLR0913 - a kernel takes every pointer
"""GELU and its spatial mean in one pass; see `convgate.kernels.gelu_mean`."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from convgate.kernels.fused.launch import (
    at,
    dense,
    gelu,
    gelu_slope,
    is_last,
    launch,
    like,
    place,
    read,
    size_of,
    walk,
)


@triton.jit
def _forward(
    x, y, parts, shape,
    BC: tl.constexpr, BP: tl.constexpr, LAST: tl.constexpr, UNIT: tl.constexpr,
):  # fmt: skip
    channels, positions, steps, n, chunk, c = place(shape, BC, LAST, UNIT)
    chunks = shape[3]
    total = tl.zeros([BC, BP], tl.float32)
    for step in range(steps):
        p = (chunk * steps + step) * BP + tl.arange(0, BP)
        inside = (c < channels)[:, None] & (p < positions)[None, :]
        spot = at(n, c, p, channels, positions, LAST)
        v = gelu(read(x, spot, inside))  # gelu(0) = 0: what lies outside adds nothing
        tl.store(y + spot, v, mask=inside)
        total += v
    row = (n * chunks + chunk) * channels
    tl.store(parts + row + c, tl.sum(total, 1) / positions, mask=c < channels)


@triton.jit
def _backward(
    x, dy, dmean, dx, shape,
    BC: tl.constexpr, BP: tl.constexpr, LAST: tl.constexpr, UNIT: tl.constexpr,
):  # fmt: skip
    channels, positions, steps, n, chunk, c = place(shape, BC, LAST, UNIT)
    shared = read(dmean, n * channels + c, c < channels) / positions
    for step in range(steps):
        p = (chunk * steps + step) * BP + tl.arange(0, BP)
        inside = (c < channels)[:, None] & (p < positions)[None, :]
        spot = at(n, c, p, channels, positions, LAST)
        g = read(dy, spot, inside) + shared[:, None]
        tl.store(dx + spot, g * gelu_slope(read(x, spot, inside)), mask=inside)


@torch.library.custom_op("convgate::gelu_mean", mutates_args=())
def gelu_mean(x: Tensor) -> tuple[Tensor, Tensor]:
    y, plan = like(x), walk(size_of(x), is_last(x))
    parts = x.new_empty((plan.samples, plan.chunks, plan.channels), dtype=torch.float32)
    launch(_forward, plan, dense(x), y, parts)
    return y, parts.sum(1)


@gelu_mean.register_fake
def _(x: Tensor) -> tuple[Tensor, Tensor]:
    return like(x), x.new_empty(x.shape[:2], dtype=torch.float32)


@torch.library.custom_op("convgate::gelu_mean_backward", mutates_args=())
def backward(x: Tensor, dy: Tensor, dmean: Tensor) -> Tensor:
    dx, plan = like(x), walk(size_of(x), is_last(x))
    launch(_backward, plan, dense(x), dense(dy, x), dmean.contiguous(), dx)
    return dx


@backward.register_fake
def _(x: Tensor, dy: Tensor, dmean: Tensor) -> Tensor:
    return like(x)


gelu_mean.register_autograd(
    lambda ctx, dy, dmean: backward(*ctx.saved_tensors, dy, dmean),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
)
