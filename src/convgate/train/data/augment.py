"""Augmentation of whole batches: window, mirror, erasing.

Random numbers are drawn for the global batch, whatever part of it a process holds, so that every
process applies the same ones.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from convgate.pictures.order import generator

__all__ = ["draw_erasing", "erase_", "mirror", "pad_crop"]

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
