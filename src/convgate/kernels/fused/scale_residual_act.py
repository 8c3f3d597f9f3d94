# mypy: ignore-errors
# ruff: noqa: PLR0913 - a kernel takes every pointer
"""s x + r and ReLU in one pass; see `convgate.kernels.scale_residual_act`."""

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
def _forward(
    x, scale, shortcut, y, shape, RELU: tl.constexpr,
    BC: tl.constexpr, BP: tl.constexpr, LAST: tl.constexpr, UNIT: tl.constexpr,
):  # fmt: skip
    channels, positions, steps, n, chunk, c = place(shape, BC, LAST, UNIT)
    s = read(scale, n * channels + c, c < channels)
    for step in range(steps):
        p = (chunk * steps + step) * BP + tl.arange(0, BP)
        inside = (c < channels)[:, None] & (p < positions)[None, :]
        spot = at(n, c, p, channels, positions, LAST)
        v = s[:, None] * read(x, spot, inside) + read(shortcut, spot, inside)
        if RELU:  # not maximum(v, 0), which would turn a NaN into 0
            v = tl.where(v < 0.0, 0.0, v)
        tl.store(y + spot, v, mask=inside)


@triton.jit
def _backward(
    dy, x, scale, y, dx, dr, parts, shape, RELU: tl.constexpr,
    BC: tl.constexpr, BP: tl.constexpr, LAST: tl.constexpr, UNIT: tl.constexpr,
):  # fmt: skip
    channels, positions, steps, n, chunk, c = place(shape, BC, LAST, UNIT)
    chunks = shape[3]
    s = read(scale, n * channels + c, c < channels)
    total = tl.zeros([BC, BP], tl.float32)
    for step in range(steps):
        p = (chunk * steps + step) * BP + tl.arange(0, BP)
        inside = (c < channels)[:, None] & (p < positions)[None, :]
        spot = at(n, c, p, channels, positions, LAST)
        g = read(dy, spot, inside)
        if RELU:
            g = tl.where(read(y, spot, inside) > 0.0, g, 0.0)
            tl.store(dr + spot, g, mask=inside)
        tl.store(dx + spot, g * s[:, None], mask=inside)
        total += g * read(x, spot, inside)
    row = (n * chunks + chunk) * channels
    tl.store(parts + row + c, tl.sum(total, 1), mask=c < channels)


@torch.library.custom_op("convgate::scale_residual_act", mutates_args=())
def scale_residual_act(x: Tensor, scale: Tensor, shortcut: Tensor, relu: bool) -> Tensor:
    y = like(x, torch.promote_types(x.dtype, shortcut.dtype))
    plan = walk(size_of(x), is_last(x))
    launch(_forward, plan, dense(x), scale.contiguous(), dense(shortcut, x), y, RELU=relu)
    return y


@scale_residual_act.register_fake
def _(x: Tensor, scale: Tensor, shortcut: Tensor, relu: bool) -> Tensor:
    return like(x, torch.promote_types(x.dtype, shortcut.dtype))


@torch.library.custom_op("convgate::scale_residual_act_backward", mutates_args=())
def backward(
    dy: Tensor, x: Tensor, scale: Tensor, y: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, the shortcut (empty without ReLU, where it is dy) and scale."""
    dx, dr = like(x), x.new_empty(0, dtype=dy.dtype) if y is None else like(x, dy.dtype)
    plan = walk(size_of(x), is_last(x))
    parts = x.new_empty((plan.samples, plan.chunks, plan.channels), dtype=torch.float32)
    signs = dx if y is None else dense(y, x)
    maps = dense(dy, x), dense(x), scale.contiguous(), signs, dx, dr
    launch(_backward, plan, *maps, parts, RELU=y is not None)
    return dx, dr, parts.sum(1).view(scale.shape).to(scale.dtype)


@backward.register_fake
def _(dy: Tensor, x: Tensor, scale: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    dr = x.new_empty(0, dtype=dy.dtype) if y is None else like(x, dy.dtype)
    return like(x), dr, scale.new_empty(scale.shape)


def _save(ctx, inputs, output) -> None:
    x, scale, _, relu = inputs
    ctx.save_for_backward(x, scale, output if relu else None)


def _gradients(ctx, dy: Tensor) -> tuple[Tensor | None, ...]:
    x, scale, y = ctx.saved_tensors
    dx, dr, dscale = backward(dy, x, scale, y)
    return dx, dscale, dy if y is None else dr, None


scale_residual_act.register_autograd(_gradients, setup_context=_save)
