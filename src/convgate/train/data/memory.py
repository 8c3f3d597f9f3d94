"""Sets that live decoded in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor

from convgate.errors import CorruptFile
from convgate.pictures.labelled import Pictures
from convgate.pictures.order import Share, generator
from convgate.train.data.augment import mirror, pad_crop
from convgate.train.data.specs import AugmentSpec

__all__ = ["MemorySource", "channel_statistics", "decode_all"]

T = TypeVar("T")
_CHUNK = 256


def decode_all(
    pictures: Pictures, prepare: Callable[[Image.Image], T], *, workers: int, skip_bad: bool
) -> tuple[list[T], list[int], list[str]]:
    """Decode every picture and ``prepare`` it.

    Returns:
        What ``prepare`` made of each good picture, their positions, and the names of the others.

    Raises:
        CorruptFile: for the first damaged picture, unless ``skip_bad``.
    """

    def attempt(index: int) -> T | CorruptFile:
        try:
            return prepare(pictures.load(index))
        except CorruptFile as problem:
            return problem

    def attempt_chunk(start: int) -> list[T | CorruptFile]:
        return [attempt(i) for i in range(start, min(start + _CHUNK, len(pictures)))]

    kept: list[T] = []
    good: list[int] = []
    skipped: list[str] = []
    with ThreadPoolExecutor(max(1, workers)) as pool:
        chunks = pool.map(attempt_chunk, range(0, len(pictures), _CHUNK))
        for index, result in enumerate(result for chunk in chunks for result in chunk):
            if not isinstance(result, CorruptFile):
                kept.append(result)
                good.append(index)
            elif skip_bad:
                skipped.append(pictures.name(index))
            else:
                pool.shutdown(wait=False, cancel_futures=True)
                raise result
    return kept, good, skipped


class MemorySource:
    """Pixels of a whole split, with the window and the mirror of ``augment`` for whole batches.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,).
        augment: what happens in training; None for validation.
        seed: of the augmentation.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, augment: AugmentSpec | None = None, seed: int = 0
    ) -> None:
        self.images, self.labels, self.augment, self.seed = images, labels, augment, seed

    def load(self, shares: Sequence[Share], epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for share in shares:
            pixels = self.images[share.indices]
            if self.augment is not None:
                pixels = self._move(pixels, self.augment, share, epoch)
            yield pixels, self.labels[share.indices]

    def _move(self, pixels: Tensor, augment: AugmentSpec, share: Share, epoch: int) -> Tensor:
        rng = generator(self.seed, epoch, share.batch, "move")
        padding = augment.crop_padding
        offsets = torch.randint(2 * padding + 1, (share.total, 2), generator=rng)[share.rows]
        turned = (torch.rand(share.total, generator=rng) < 0.5)[share.rows]
        if augment.crop == "pad":
            pixels = pad_crop(pixels, offsets, padding)
        return mirror(pixels, turned) if augment.flip else pixels


def channel_statistics(
    chunks: Iterable[Tensor],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel of uint8 (N, C, H, W) chunks, in 0 .. 1.

    They come from exact counts of the 256 levels. A channel without contrast gets the standard
    deviation of one level, so that dividing by it is safe.
    """
    counts = sum(_count_levels(chunk) for chunk in chunks)
    assert isinstance(counts, Tensor)
    levels = torch.arange(256, dtype=torch.float64) / 255
    share = counts.double() / counts.sum(1, keepdim=True)  # (C, 256)
    mean = share @ levels
    variance = (share * (levels - mean.unsqueeze(1)) ** 2).sum(1)
    std = variance.sqrt().clamp(min=1 / 255)
    return tuple(mean.tolist()), tuple(std.tolist())


def _count_levels(chunk: Tensor) -> Tensor:
    return torch.stack([c.flatten().bincount(minlength=256) for c in chunk.unbind(1)])
