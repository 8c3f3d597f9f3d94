# mypy: ignore-errors
"""How the kernels walk a feature map: one tile of channels times positions after another.

The map (N, C, P) lies either position by position inside a channel (contiguous) or channel by
channel inside a position (LAST: channels-last); offsets are 64 bits wide.
"""

from dataclasses import dataclass
from math import ceil

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton import next_power_of_2
from triton.runtime.errors import OutOfResources as OutOfResources  # for `convgate.kernels.choice`

INTERPRETED = triton.knobs.runtime.interpret  # as it was when the kernels were defined
TILE = 2048  # numbers in a tile: 16 for each thread of 4 warps
WHOLE = 16384  # numbers in a tile that holds a plane: 32 for each thread of 16 warps
PROGRAMS = 1024  # sums over positions are split until there are this many


@dataclass(frozen=True)
class Walk:
    """A program takes one sample, a block of channels, and `steps` tiles along the positions.

    Where `chunks` programs share a channel, each writes its own part of a sum, added outside:
    no atomics, so that equal inputs give equal results.
    """

    samples: int
    channels: int
    positions: int
    block_c: int
    block_p: int
    chunks: int
    last: bool

    @property
    def c_blocks(self) -> int:
        return ceil(self.channels / self.block_c)

    @property
    def steps(self) -> int:
        return ceil(ceil(self.positions / self.block_p) / self.chunks)

    @property
    def grid(self) -> tuple[int]:
        return (self.samples * self.c_blocks * self.chunks,)  # one axis: the others end at 65535

    @property
    def shape(self) -> tuple[int, ...]:
        """What `place` reads in a kernel."""
        return self.channels, self.positions, self.c_blocks, self.chunks, self.steps

    @property
    def meta(self) -> dict[str, object]:
        return {
            "BC": self.block_c,
            "BP": self.block_p,
            "LAST": self.last,
            "UNIT": unit(self.channels if self.last else self.positions),
            "num_warps": min(max(self.block_c * self.block_p // 512, 4), 16),
        }


def walk(size: tuple[int, int, int], last: bool, *, whole: bool = False) -> Walk:
    """Plan the walk over maps (N, C, P).

    Args:
        size: N, C, P.
        last: Whether neighbouring channels lie side by side.
        whole: Let one program see all positions of its channels, in one tile where they fit.
    """
    n, c, p = size
    tile = WHOLE if whole else TILE
    if last:
        narrow = max(16, TILE // next_power_of_2(p)) if whole else 128
        block_c = min(next_power_of_2(c), narrow)
        block_p = min(next_power_of_2(p), tile // block_c)
    else:
        block_p = min(next_power_of_2(p), tile)
        block_c = min(next_power_of_2(c), max(TILE // block_p, 1))
    tiles = ceil(p / block_p)
    chunks = 1 if whole else min(tiles, ceil(PROGRAMS / (n * ceil(c / block_c))))
    steps = ceil(tiles / chunks)
    return Walk(n, c, p, block_c, block_p, ceil(tiles / steps), last)


def unit(length: int) -> int:
    """Return the power of two up to 16 that divides a length: how wide its loads may be."""
    return min(length & -length, 16)


def size_of(x: Tensor) -> tuple[int, int, int]:
    """Return N, C, P of a map (N, C, ...)."""
    return x.shape[0], x.shape[1], x.shape[2:].numel()


def is_last(x: Tensor) -> bool:
    """Tell whether x lies channels-last, and not as well the other way."""
    other = x.ndim == 4 and not x.is_contiguous()
    return other and x.is_contiguous(memory_format=torch.channels_last)


def dense(x: Tensor, model: Tensor | None = None) -> Tensor:
    """Return x in the memory format of the model, else of x itself: a copy only if it must be."""
    last = is_last(x if model is None else model)
    return x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def like(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return an empty map of the size and memory format of `dense(x)`."""
    memory_format = torch.channels_last if is_last(x) else torch.contiguous_format
    return torch.empty_like(x, dtype=dtype, memory_format=memory_format)


def launch(kernel, plan, *arguments: object, **meta: object) -> None:
    """Run a kernel over a walk, on the device of its first argument."""
    with torch.cuda.device_of(arguments[0]):
        kernel[plan.grid](*arguments, plan.shape, **plan.meta, **meta, enable_fp_fusion=True)


@triton.jit
def place(shape, BC: tl.constexpr, LAST: tl.constexpr, UNIT: tl.constexpr):
    """Return C, P and steps; and this program's sample, chunk and channels."""
    channels, positions, c_blocks, chunks, steps = shape
    if UNIT > 1:  # the same number, and the compiler sees what divides it
        if LAST:
            channels = channels // UNIT * UNIT
        else:
            positions = positions // UNIT * UNIT
    program = tl.program_id(0)
    n = program // (chunks * c_blocks)
    c = program // chunks % c_blocks * BC + tl.arange(0, BC)
    return channels, positions, steps, n.to(tl.int64), program % chunks, c


@triton.jit
def at(n, c, p, channels, positions, LAST: tl.constexpr):
    """Return the offsets of a tile."""
    start = n * channels * positions
    if LAST:
        return start + p.to(tl.int64)[None, :] * channels + c[:, None]
    return start + c.to(tl.int64)[:, None] * positions + p[None, :]


@triton.jit
def read(x, spot, inside):
    """Return numbers in float32, with zeros outside the map."""
    return tl.load(x + spot, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def gelu(v):
    return 0.5 * v * (1.0 + tl.math.erf(v * 0.7071067811865476))


@triton.jit
def gelu_slope(v):
    """Return the derivative of GELU: Phi(v) + v phi(v)."""
    return 0.5 * (1.0 + tl.math.erf(v * 0.7071067811865476)) + v * 0.3989422804014327 * tl.exp(
        -0.5 * v * v
    )
