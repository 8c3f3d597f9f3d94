"""Mixup, CutMix and label smoothing on a batch.

Pictures are blended in neighbouring pairs (0 with 1, 2 with 3, ...) of a shuffled batch, with one
ratio a batch. Pairs never cross an even batch size, so processes need nothing from each other.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch
from torch import Tensor

from convgate.train.data.specs import AugmentSpec

__all__ = ["Mix", "draw_mix", "mix", "partners", "smooth_one_hot"]


@dataclass(frozen=True)
class Mix:
    """How a batch is blended.

    Args:
        ratio: share of the picture itself, in its pixels and in its target.
        box: rows and columns (top, bottom, left, right) taken from the partner by CutMix, or None
            for mixup.
    """

    ratio: float
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
