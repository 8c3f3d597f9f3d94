"""Batches of pictures with objects or with classes of pixels, read by worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors

from convgate.errors import CorruptFile
from convgate.pictures.decoding import to_tensor
from convgate.pictures.order import generator, seed_of, seeded
from convgate.train.annotated.augment import (
    ObjectAugmentSpec,
    SampleDict,
    create_transform,
    mosaic,
    sample_dict,
    sanitize,
)
from convgate.train.annotated.images import AnnotatedImages
from convgate.train.data.batches import Order

__all__ = [
    "AnnotatedBatches",
    "ClassBatches",
    "ClassTrain",
    "ClassVal",
    "ObjectBatches",
    "ObjectTrain",
    "ObjectVal",
    "PrepareSample",
    "Target",
]

Target = dict[str, Tensor]
_STREAM = "scene"  # part of every seed: another word would be another augmentation
Prepared = tuple[Tensor, Target] | CorruptFile


class PrepareSample(Protocol):
    """Makes pixels, uint8 (3, H, W), and a target of one picture."""

    def __call__(
        self, images: AnnotatedImages, index: int, epoch: int
    ) -> tuple[Tensor, Target]: ...


class ObjectVal:
    """A picture as it is, with what scores need: also crowds, difficult objects and areas."""

    def __init__(self, longest_px: int, *, masks: bool) -> None:
        self.longest_px, self.masks = longest_px, masks

    def __call__(self, images: AnnotatedImages, index: int, epoch: int) -> tuple[Tensor, Target]:
        sample = images.sample(index, self.longest_px, masks=self.masks)
        target = {
            "boxes": sample.boxes,
            "labels": sample.labels,
            "crowd": sample.crowd,
            "difficult": sample.difficult,
            "area": sample.area,
            "shrunk": torch.tensor(sample.shrunk),
        }
        if sample.masks is not None:
            target["masks"] = sample.masks
        return to_tensor(sample.image), target


class ObjectTrain:
    """A picture with its objects, augmented."""

    def __init__(
        self,
        longest_px: int,
        spec: ObjectAugmentSpec,
        seed: int,
        *,
        masks: bool,
        single_from: int | None = None,
    ) -> None:
        self.longest_px, self.spec, self.seed, self.masks = longest_px, spec, seed, masks
        self.single_from = single_from
        self.transform = create_transform(spec)

    def __call__(self, images: AnnotatedImages, index: int, epoch: int) -> tuple[Tensor, Target]:
        with seeded(seed_of(self.seed, epoch, _STREAM, index)):
            mixed = self._mixed(epoch)
            sample = self._mosaic(images, index) if mixed else self._sample(images, index)
            sample = sanitize(self.transform(sample))
        plain = {key: value.as_subclass(Tensor) for key, value in sample.items()}
        return plain.pop("image"), plain

    def _mixed(self, epoch: int) -> bool:
        if self.spec.name != "mosaic" or float(torch.rand(())) >= self.spec.mosaic:
            return False
        return self.single_from is None or epoch < self.single_from

    def _sample(self, images: AnnotatedImages, index: int) -> SampleDict:
        return sample_dict(images.sample(index, self.longest_px, masks=self.masks))

    def _mosaic(self, images: AnnotatedImages, index: int) -> SampleDict:
        others = torch.randint(len(images), (3,)).tolist()
        parts = [self._sample(images, i) for i in (index, *others)]
        return mosaic(parts, self.spec.window_px, self.spec.scale)


class ClassVal:
    """A picture and the class of each pixel, uint8 (H, W)."""

    def __init__(self, longest_px: int) -> None:
        self.longest_px = longest_px

    def __call__(self, images: AnnotatedImages, index: int, epoch: int) -> tuple[Tensor, Target]:
        image, classes = images.class_map(index, self.longest_px)
        return to_tensor(image), {"classes": classes}


class ClassTrain:
    """A picture and the class of each pixel, augmented."""

    def __init__(self, longest_px: int, spec: ObjectAugmentSpec, seed: int) -> None:
        self.longest_px, self.seed = longest_px, seed
        self.transform = create_transform(spec)

    def __call__(self, images: AnnotatedImages, index: int, epoch: int) -> tuple[Tensor, Target]:
        image, classes = images.class_map(index, self.longest_px)
        sample = {
            "image": tv_tensors.Image(to_tensor(image)),
            "classes": tv_tensors.Mask(classes.unsqueeze(0)),
        }
        with seeded(seed_of(self.seed, epoch, _STREAM, index)):
            sample = self.transform(sample)
        pixels = sample["image"].as_subclass(Tensor)
        return pixels, {"classes": sample["classes"].as_subclass(Tensor)[0]}


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
