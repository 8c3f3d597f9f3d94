"""Batches of pictures with objects or with classes of pixels, read by worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from convgate.errors import CorruptFile
from convgate.pictures.order import generator
from convgate.train.annotated.images import AnnotatedImages
from convgate.train.annotated.prepare import PrepareSample, Target
from convgate.train.data.batches import Order

__all__ = ["AnnotatedBatches", "ClassBatches", "ObjectBatches"]

Prepared = tuple[Tensor, Target] | CorruptFile


class AnnotatedBatches:
    """Batches of one split, the same for the same (seed, epoch)."""

    def __init__(
        self, images: AnnotatedImages, order: Order, prepare: PrepareSample, workers: int
    ) -> None:
        self.images, self.order, self.prepare, self.workers = images, order, prepare, workers
        self.epoch = 0

    def __len__(self) -> int:
        """Return the batches of this process in an epoch."""
        return len(self.order)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration gives."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Any]:
        shares = self.order.shares(self.epoch)
        loader: DataLoader[Prepared] = DataLoader(
            _SampleEpoch(self.images, self.prepare, self.epoch),
            batch_sampler=[share.indices.tolist() for share in shares],
            num_workers=min(self.workers, len(shares)),
            collate_fn=list,
            generator=generator("loader"),  # its own, so that the global one stays as it is
        )
        for items in loader:
            yield self.join(_sound(items))

    def join(self, items: list[tuple[Tensor, Target]]) -> Any:
        raise NotImplementedError


class ObjectBatches(AnnotatedBatches):
    """Yields a list of float32 (3, H, W) in 0 .. 1 and a list of targets, sizes as they come."""

    def join(self, items: list[tuple[Tensor, Target]]) -> tuple[list[Tensor], list[Target]]:
        return [pixels.float() / 255 for pixels, _ in items], [target for _, target in items]


class ClassBatches(AnnotatedBatches):
    """Yields float32 (N, 3, H, W) in 0 .. 1 and classes, int64 (N, H, W), of pictures of one size.

    A process without a picture left gets a batch of none.
    """

    def join(self, items: list[tuple[Tensor, Target]]) -> tuple[Tensor, Tensor]:
        if not items:
            return torch.zeros(0, 3, 1, 1), torch.zeros(0, 1, 1, dtype=torch.int64)
        pixels = torch.stack([pixels for pixels, _ in items])
        return pixels.float() / 255, torch.stack([t["classes"] for _, t in items]).long()


class _SampleEpoch(Dataset[Prepared]):
    def __init__(self, images: AnnotatedImages, prepare: PrepareSample, epoch: int) -> None:
        self.images, self.prepare, self.epoch = images, prepare, epoch

    def __getitem__(self, index: int) -> Prepared:
        try:
            return self.prepare(self.images, index, self.epoch)
        except CorruptFile as problem:
            # As a value: an exception would arrive wrapped in the worker's traceback.
            return problem


def _sound(items: list[Prepared]) -> list[tuple[Tensor, Target]]:
    sound = []
    for item in items:
        if isinstance(item, CorruptFile):
            raise item
        sound.append(item)
    return sound
