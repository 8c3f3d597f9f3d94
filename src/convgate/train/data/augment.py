"""Augmentation of whole batches: window, mirror, erasing, mixup, CutMix, label smoothing.

Ours and not a library's: one indexing moves a whole batch, where transforms.v2 takes one picture
after the other (a set in memory is trained faster than it could deliver), and its mixing rolls the
batch, which several processes could not share. Here pictures are blended in neighbouring pairs (0
with 1, 2 with 3, ...) of a shuffled batch, with one ratio a batch; pairs never cross an even batch
size, so processes need nothing from each other.

Random numbers are drawn for the global batch, whatever part of it a process holds, so that every
process applies the same ones.
"""

import math
import random
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from convgate.pictures.order import generator
from convgate.train.data.specs import AugmentSpec

_TRIES = 10


def pad_crop(x: Tensor, offsets: Tensor, padding: int) -> Tensor:
    """Cut an H x W window out of each picture with a border of zeros.

    Shape: x (N, C, H, W), offsets (N, 2) int64 rows and columns in 0 .. 2 padding -> (N, C, H, W).
    """
    height, width = x.shape[2:]
    windows = pad(x, (padding,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    # (N, C, 2p + 1, 2p + 1, H, W): a view, of which one window a picture is copied
    return windows[torch.arange(len(x)), :, offsets[:, 0], offsets[:, 1]]


def mirror(x: Tensor, chosen: Tensor) -> Tensor:
    """Turn the ``chosen`` (N,) pictures left to right."""
    return torch.where(chosen.view(-1, 1, 1, 1), x.flip(-1), x)


def draw_erasing(
    count: int, size: tuple[int, int], probability: float, rng: torch.Generator
) -> Tensor:
    """Draw at most one rectangle a picture: (N, 4) int64 top, left, height, width; 0 for none.

    Area 2 to 33.3 % of the picture, log-uniform aspect ratio 0.3 to 3.3; the first of ten draws
    that fits counts. Source: arXiv 1708.04896, algorithm 1, with the bounds of timm.
    """
    height, width = size
    chosen = torch.rand(count, generator=rng) < probability
    area = height * width * (0.02 + (1 / 3 - 0.02) * torch.rand(count, _TRIES, generator=rng))
    low, high = math.log(0.3), math.log(1 / 0.3)
    aspect = (low + (high - low) * torch.rand(count, _TRIES, generator=rng)).exp()
    h = (area * aspect).sqrt().round().long()
    w = (area / aspect).sqrt().round().long()
    where = torch.rand(2, count, _TRIES, generator=rng)
    top = (where[0] * (height - h + 1)).long()
    left = (where[1] * (width - w + 1)).long()
    fits = (h < height) & (w < width) & (h > 0) & (w > 0)
    first = fits.int().argmax(1, keepdim=True)
    boxes = torch.stack([top, left, h, w], dim=-1)  # (N, tries, 4)
    drawn = boxes.gather(1, first.unsqueeze(-1).expand(-1, 1, 4)).squeeze(1)
    return drawn * (chosen & fits.any(1)).unsqueeze(1)


def erase_(x: Tensor, boxes: Tensor, seeds: Tensor) -> Tensor:
    """Fill each picture's rectangle with standard normal noise, in place.

    Shape: x (N, C, H, W) normalised; boxes (N, 4); seeds (N,) int64, one noise stream a picture.
    """
    for row in boxes[:, 2].nonzero().flatten().tolist():
        top, left, height, width = boxes[row].tolist()
        rng = generator("noise", int(seeds[row]))
        noise = torch.randn(x.shape[1], height, width, generator=rng)
        x[row, :, top : top + height, left : left + width] = noise
    return x


@dataclass(frozen=True)
class Mix:
    """How a batch is blended."""

    ratio: float  # share of the picture itself, in its pixels and in its target
    # rows and columns (top, bottom, left, right) taken from the partner by CutMix, or None for
    # mixup
    box: tuple[int, int, int, int] | None = None


def draw_mix(spec: AugmentSpec, size: tuple[int, int], seed: int) -> Mix | None:
    """Draw this batch's blend from Beta(alpha, alpha); None if ``spec`` asks for none.

    Source: mixup, arXiv 1710.09412, eq. 1; CutMix, arXiv 1905.04899, eq. 1-2, where the ratio is
    corrected to the area that remains after the box is clipped at the border.
    """
    if not spec.mixes:
        return None
    rng = random.Random(seed)
    cut = spec.cutmix > 0 and (spec.mixup == 0 or rng.random() < 0.5)
    alpha = spec.cutmix if cut else spec.mixup
    ratio = rng.betavariate(alpha, alpha)
    return _draw_box(ratio, size, rng) if cut else Mix(ratio)


def _draw_box(ratio: float, size: tuple[int, int], rng: random.Random) -> Mix:
    edges: list[int] = []
    for side in size:
        length = int(side * math.sqrt(1 - ratio))
        start = rng.randrange(side) - length // 2
        edges += [max(start, 0), min(start + length, side)]
    top, bottom, left, right = edges
    kept = 1 - (bottom - top) * (right - left) / (size[0] * size[1])
    return Mix(kept, (top, bottom, left, right))


def partners(count: int) -> Tensor:
    """Return each row's partner; the last of an odd number is its own."""
    return (torch.arange(count) ^ 1).clamp(max=count - 1)


def mix(x: Tensor, blend: Mix) -> Tensor:
    """Blend each picture of (N, C, H, W) with its partner."""
    other = x[partners(len(x))]
    if blend.box is None:
        return x.lerp_(other, 1 - blend.ratio)
    top, bottom, left, right = blend.box
    x[:, :, top:bottom, left:right] = other[:, :, top:bottom, left:right]
    return x


def smooth_one_hot(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """Return (N, K) rows: 1 - s at the label, plus s / K everywhere.

    Source: arXiv 1512.00567, section 7.
    """
    even = torch.full((len(labels), classes), smoothing / classes)
    gain = torch.full((len(labels), 1), 1 - smoothing)
    return even.scatter_add_(1, labels.unsqueeze(1), gain)
