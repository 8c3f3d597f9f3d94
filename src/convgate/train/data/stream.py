"""Sets whose pictures are prepared one at a time, by worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from convgate.errors import CorruptFile
from convgate.pictures.decoding import square, to_tensor
from convgate.pictures.labelled import Pictures
from convgate.pictures.order import Share, generator, seed_of
from convgate.train.data.augment import mirror, pad_crop
from convgate.train.data.photo import RandAugment, resized_crop
from convgate.train.data.specs import AugmentSpec

__all__ = ["PreparePicture", "StreamSource"]

Prepared = tuple[Tensor | CorruptFile, int]


class PreparePicture:
    """One picture to uint8 (C, image_px, image_px): a pure function of (seed, epoch, index).

    Training takes window, mirror and RandAugment in this order; validation (``augment`` None)
    takes the middle of the picture.
    """

    def __init__(self, image_px: int, augment: AugmentSpec | None = None, seed: int = 0) -> None:
        self.image_px, self.augment, self.seed = image_px, augment, seed
        self.strong = augment is not None and augment.randaugment_magnitude > 0
        self._rand_augment = RandAugment(augment) if augment is not None and self.strong else None

    def __call__(self, pictures: Pictures, index: int, epoch: int) -> Tensor:
        image = pictures.load(index)
        if self.augment is None:
            return to_tensor(square(image, self.image_px))
        rng = generator(self.seed, epoch, "picture", index)
        if self.augment.crop == "resized":
            pixels = to_tensor(resized_crop(image, self.image_px, rng))
        else:
            pixels = to_tensor(square(image, self.image_px))
        pixels = self._move(pixels.unsqueeze(0), self.augment, rng).squeeze(0)
        if self._rand_augment is None:
            return pixels
        return self._rand_augment(pixels, seed_of(self.seed, epoch, "operations", index))

    def _move(self, x: Tensor, augment: AugmentSpec, rng: torch.Generator) -> Tensor:
        if augment.crop == "pad":
            padding = augment.crop_padding
            offsets = torch.randint(2 * padding + 1, (1, 2), generator=rng)
            x = pad_crop(x, offsets, padding)
        if augment.flip:
            x = mirror(x, torch.rand(1, generator=rng) < 0.5)
        return x


class StreamSource:
    """Pictures prepared again in every epoch.

    Args:
        pictures: what is read.
        prepare: makes pixels of them.
        workers: processes that do so; 0 does it in this one.
    """

    def __init__(self, pictures: Pictures, prepare: PreparePicture, workers: int) -> None:
        self.pictures, self.prepare, self.workers = pictures, prepare, workers

    def load(self, shares: Sequence[Share], epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        loader: DataLoader[Prepared] = DataLoader(
            _PictureEpoch(self.pictures, self.prepare, epoch),
            batch_sampler=[share.indices.tolist() for share in shares],
            num_workers=min(self.workers, len(shares)),
            collate_fn=list,
            # The loader draws a seed; from a generator of its own, so that the global one, which
            # dropout uses, is the same with any number of workers.
            generator=generator("loader"),
        )
        for items in loader:
            yield _stack(items) if items else self._nothing()

    def _nothing(self) -> tuple[Tensor, Tensor]:
        """Return a batch without pictures, which a process with fewer of them ends with."""
        pixels = to_tensor(self.pictures.load(0))
        size = (0, len(pixels), self.prepare.image_px, self.prepare.image_px)
        return pixels.new_empty(size), torch.empty(0, dtype=torch.long)


class _PictureEpoch(Dataset[Prepared]):
    def __init__(self, pictures: Pictures, prepare: PreparePicture, epoch: int) -> None:
        self.pictures, self.prepare, self.epoch = pictures, prepare, epoch

    def __getitem__(self, index: int) -> Prepared:
        label = int(self.pictures.labels[index])
        try:
            return self.prepare(self.pictures, index, self.epoch), label
        except CorruptFile as problem:
            # As a value: an exception would arrive wrapped in the worker's traceback.
            return problem, label


def _stack(items: list[Prepared]) -> tuple[Tensor, Tensor]:
    pixels = []
    for result, _ in items:
        if isinstance(result, CorruptFile):
            raise result
        pixels.append(result)
    return torch.stack(pixels), torch.tensor([label for _, label in items])
