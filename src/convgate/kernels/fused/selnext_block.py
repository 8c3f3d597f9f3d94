# mypy: ignore-errors
# ruff: noqa: PLR0913 - a kernel takes every pointer
"""Two matrix products with their prologues and epilogues; see `convgate.kernels.selnext_block`.

Rows are positions, and a tile of rows never leaves its sample: the means stay apart and one scale
serves a tile. Every product accumulates in float32.
"""

from math import ceil

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton import next_power_of_2

from convgate.kernels.fused.launch import INTERPRETED, gelu, gelu_slope, read
from convgate.kernels.fused.scale_residual_act import backward as scale_backward

TILES = [(64, 32, 4, 4), (128, 32, 4, 4), (128, 64, 8, 3), (256, 32, 8, 3)]
CONFIGS = [
    triton.Config({"BN": n, "BK": k}, num_warps=warps, num_stages=stages)
    for n, k, warps, stages in TILES
]
if INTERPRETED:  # nothing to time there, and small tiles show what a second tile does
    CONFIGS = [triton.Config({"BN": 32, "BK": 16})]


@triton.jit
def _place(positions, columns, BM: tl.constexpr, BN: tl.constexpr):
    """Return this program's sample, block of rows, rows and columns."""
    blocks, wide = tl.cdiv(positions, BM), tl.cdiv(columns, BN)
    program = tl.program_id(0)
    n, block = program // (blocks * wide), program // wide % blocks
    rows = block * BM + tl.arange(0, BM)
    return n.to(tl.int64), block, rows, program % wide * BN + tl.arange(0, BN)


@triton.jit
def _product(
    x, scale, weight, n, rows, columns, positions, depth, width, SCALED: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, FORM: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Return (s x) W^T of one tile; s is rounded into x as the reference rounds it."""
    total = tl.zeros([BM, BN], tl.float32)
    line = (n * positions + rows.to(tl.int64))[:, None] * depth
    for start in range(0, depth, BK):
        k = start + tl.arange(0, BK)
        known = k < depth
        mask = (rows < positions)[:, None] & known[None, :]
        a = tl.load(x + line + k[None, :], mask=mask, other=0.0)
        if SCALED:
            s = read(scale, n * depth + k, known)
            a = (a.to(tl.float32) * s[None, :]).to(a.dtype)
        mask = (columns < width)[None, :] & known[:, None]
        b = tl.load(weight + columns[None, :] * depth + k[:, None], mask=mask, other=0.0)
        total = tl.dot(a.to(FORM), b.to(FORM), total, input_precision=PRECISION)
    return total


@triton.autotune(CONFIGS, key=["depth", "width", "FORM"])
@triton.jit
def _expand(
    x, weight, bias, dh, dmean, out, parts, positions, depth, width, BACKWARD: tl.constexpr,
    STORE: tl.constexpr, FORM: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """The hidden features, if asked for, and their means; or the gradient before GELU."""
    n, block, rows, columns = _place(positions, width, BM, BN)
    known = columns < width
    v = _product(
        x, x, weight, n, rows, columns, positions, depth, width, False, BM, BN, BK, FORM, PRECISION
    )
    v += read(bias, columns, known)[None, :]
    inside = (rows < positions)[:, None] & known[None, :]
    spot = (n * positions + rows.to(tl.int64))[:, None] * width + columns[None, :]
    if BACKWARD:
        shared = read(dmean, n * width + columns, known) / positions
        g = (read(dh, spot, inside) + shared[None, :]) * gelu_slope(v)
        tl.store(out + spot, g, mask=inside)
    else:
        v = tl.where(inside, gelu(v), 0.0)
        if STORE:
            tl.store(out + spot, v, mask=inside)
        row = (n * tl.cdiv(positions, BM) + block) * width
        tl.store(parts + row + columns, tl.sum(v, 0) / positions, mask=known)


@triton.jit
def finish(
    v, bias, gamma, shortcut, y, n, rows, columns, positions, width, GAMMA: tl.constexpr,
    SHORTCUT: tl.constexpr,
):  # fmt: skip
    """Store gamma (v + bias) + shortcut of one tile."""
    known = columns < width
    inside = (rows < positions)[:, None] & known[None, :]
    spot = (n * positions + rows.to(tl.int64))[:, None] * width + columns[None, :]
    v += read(bias, columns, known)[None, :]
    if GAMMA:
        v *= read(gamma, columns, known)[None, :]
    if SHORTCUT:
        v += read(shortcut, spot, inside)
    tl.store(y + spot, v, mask=inside)


@triton.autotune(CONFIGS, key=["depth", "width", "FORM"])
@triton.jit
def _project(
    h, scale, weight, bias, gamma, shortcut, y, positions, depth, width, GAMMA: tl.constexpr,
    SHORTCUT: tl.constexpr, FORM: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    n, _block, rows, columns = _place(positions, width, BM, BN)
    v = _product(
        h, scale, weight, n, rows, columns, positions, depth, width, True, BM, BN, BK, FORM,
        PRECISION,
    )  # fmt: skip
    finish(
        v, bias, gamma, shortcut, y, n, rows, columns, positions, width, GAMMA, SHORTCUT
    )  # fmt: skip


def _launch(kernel, x: Tensor, weight: Tensor, *arguments: object, **meta: object) -> None:
    """Run a product of x (N, ..., depth) with weight (width, depth)."""
    samples, positions = x.shape[0], x.shape[1:-1].numel()
    width, depth = weight.shape
    block = _block(positions)
    form, precision = form_of(x)
    with torch.cuda.device_of(x):
        kernel[lambda meta: (samples * ceil(positions / block) * ceil(width / meta["BN"]),)](
            *arguments, positions, depth, width, BM=block, FORM=form,
            PRECISION=precision, enable_fp_fusion=True, **meta,
        )  # fmt: skip


_FORMS = {torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}


def form_of(x: Tensor) -> tuple[tl.dtype, str]:
    """Return the dtype in which numbers are multiplied, and how float32 is."""
    exact = torch.get_float32_matmul_precision() == "highest"
    # The interpreter multiplies the bits of bfloat16 as integers; as float32 they are the same.
    return tl.float32 if INTERPRETED else _FORMS[x.dtype], "ieee" if exact else "tf32"


def _block(positions: int) -> int:
    """Return the rows of a tile: 16 is the least that a matrix unit takes."""
    return max(min(next_power_of_2(positions), 64 if positions < 512 else 128), 16)


@torch.library.custom_op("convgate::selnext_expand", mutates_args=())
def expand(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    x, width = x.contiguous(), len(weight)
    h = x.new_empty((*x.shape[:-1], width))
    return h, _means(x, weight, bias, h)


def _means(x: Tensor, weight: Tensor, bias: Tensor, h: Tensor | None) -> Tensor:
    """Return the means of the hidden features, which are stored in h if it is there."""
    positions = x.shape[1:-1].numel()
    blocks = ceil(positions / _block(positions))
    parts = x.new_empty((len(x), blocks, len(weight)), dtype=torch.float32)
    weights, out = (weight.contiguous(), bias.contiguous()), parts if h is None else h
    flags = {"BACKWARD": False, "STORE": h is not None}
    _launch(_expand, x, weight, x, *weights, out, parts, out, parts, **flags)
    return parts.sum(1)


@expand.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    width = len(weight)
    h = x.new_empty((*x.shape[:-1], width))
    return h, x.new_empty((len(x), width), dtype=torch.float32)


@torch.library.custom_op("convgate::selnext_expand_backward", mutates_args=())
def expand_backward(x: Tensor, weight: Tensor, bias: Tensor, dh: Tensor, dmean: Tensor) -> Tensor:
    """Return the gradient before GELU (N, ..., K), with the product computed again."""
    x, dh = x.contiguous(), dh.contiguous()
    out = torch.empty_like(dh)
    weights, dmean = (weight.contiguous(), bias.contiguous()), dmean.contiguous()
    _launch(_expand, x, weight, x, *weights, dh, dmean, out, dmean, BACKWARD=True, STORE=True)
    return out


@expand_backward.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor, dh: Tensor, dmean: Tensor) -> Tensor:
    return torch.empty_like(dh, memory_format=torch.contiguous_format)


def _expand_gradients(ctx, dh: Tensor, dmean: Tensor) -> tuple[Tensor, ...]:
    x, weight, _ = ctx.saved_tensors
    inner = expand_backward(*ctx.saved_tensors, dh, dmean)
    flat = inner.flatten(0, -2)
    return inner @ weight, flat.T @ x.flatten(0, -2), flat.sum(0)


expand.register_autograd(
    _expand_gradients, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs)
)


@torch.library.custom_op("convgate::selnext_squeeze", mutates_args=())
def squeeze(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return _means(x.contiguous(), weight, bias, None)


@squeeze.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty((len(x), len(weight)), dtype=torch.float32)


def output_dtype(h: Tensor, *others: Tensor | None) -> torch.dtype:
    dtype = h.dtype
    for other in others:
        if other is not None:
            dtype = torch.promote_types(dtype, other.dtype)
    return dtype


@torch.library.custom_op("convgate::selnext_project", mutates_args=())
def project(
    h: Tensor,
    scale: Tensor,
    weight: Tensor,
    bias: Tensor,
    gamma: Tensor | None,
    shortcut: Tensor | None,
) -> Tensor:
    dtype = output_dtype(h, gamma, shortcut)
    h, y = h.contiguous(), h.new_empty((*h.shape[:-1], len(weight)), dtype=dtype)
    weights = scale.contiguous(), weight.contiguous(), bias.contiguous()
    ends = y if gamma is None else gamma, y if shortcut is None else shortcut.contiguous()
    flags = {"GAMMA": gamma is not None, "SHORTCUT": shortcut is not None}
    _launch(_project, h, weight, h, *weights, *ends, y, **flags)
    return y


@project.register_fake
def _(
    h: Tensor,
    scale: Tensor,
    weight: Tensor,
    bias: Tensor,
    gamma: Tensor | None,
    shortcut: Tensor | None,
) -> Tensor:
    dtype = output_dtype(h, gamma, shortcut)
    return h.new_empty((*h.shape[:-1], len(weight)), dtype=dtype)


def _save(ctx, inputs, output) -> None:
    *saved, shortcut = inputs
    ctx.save_for_backward(*saved)
    ctx.added = shortcut is not None


def _project_gradients(ctx, dy: Tensor) -> tuple[Tensor | None, ...]:
    h, scale, weight, bias, gamma = ctx.saved_tensors
    dtype = h.dtype
    dshortcut = dy if ctx.added else None
    ahead = (dy if gamma is None else dy * gamma).to(dtype)
    maps = h.flatten(1, -2)  # (N, P, K)
    inner = (ahead @ weight).view_as(maps)
    dh, _, dscale = scale_backward(_as_map(inner), _as_map(maps), scale[:, :, None, None], None)
    scaled = (maps * scale[:, None]).flatten(0, 1)
    outer = dy.flatten(0, -2).to(dtype).T @ scaled  # (C, K): without gamma, the gradient of W2
    sums = dy.flatten(0, -2).float().sum(0)
    dh, dscale = dh.squeeze(2).transpose(1, 2).reshape(h.shape), dscale[:, :, 0, 0]
    if gamma is None:
        return dh, dscale, outer, sums.to(bias.dtype), None, dshortcut
    wide = gamma.float()
    # y depends on gamma through W2 (s h) + b2, whose product with dy is in `outer` already
    dgamma = (weight.float() * outer.float()).sum(1) + bias.float() * sums
    dweight = (wide[:, None] * outer.float()).to(dtype)
    return dh, dscale, dweight, (wide * sums).to(bias.dtype), dgamma.to(gamma.dtype), dshortcut


def _as_map(x: Tensor) -> Tensor:
    """(N, P, K) -> (N, K, 1, P), channels-last: a view."""
    return x.transpose(1, 2)[:, :, None]


project.register_autograd(_project_gradients, setup_context=_save)
