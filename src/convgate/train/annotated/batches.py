"""Samples with objects or with classes of pixels, as networks take them.

Each is a pure function of (seed, epoch, index).
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from torchvision import tv_tensors

from convgate.pictures.decoding import to_tensor
from convgate.pictures.order import Share, seed_of, seeded
from convgate.train.annotated.augment import (
    ObjectAugmentSpec,
    SampleDict,
    create_transform,
    mosaic,
    sample_dict,
    sanitize,
)
from convgate.train.annotated.images import AnnotatedImages
from convgate.train.data.stream import load_items

Target = dict[str, Tensor]
_STREAM = "scene"  # part of every seed: another word would be another augmentation


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


class SampleSource:
    """Samples of a split, prepared by ``workers`` processes; 0 does it in this one."""

    def __init__(self, images: AnnotatedImages, prepare: PrepareSample, workers: int) -> None:
        self.images, self.prepare, self.workers = images, prepare, workers

    def load(
        self, shares: Sequence[Share], epoch: int
    ) -> Iterator[tuple[list[Tensor], list[Target]]]:
        prepare = partial(self.prepare, self.images, epoch=epoch)
        for items in load_items(prepare, shares, self.workers):
            yield [pixels for pixels, _ in items], [target for _, target in items]


def object_batch(
    pixels: list[Tensor], targets: list[Target], share: Share, epoch: int
) -> tuple[list[Tensor], list[Target]]:
    """Return a list of float32 (3, H, W) in 0 .. 1 and the targets, sizes as they come."""
    return [x.float() / 255 for x in pixels], targets


def class_batch(
    pixels: list[Tensor], targets: list[Target], share: Share, epoch: int
) -> tuple[Tensor, Tensor]:
    """Return float32 (N, 3, H, W) in 0 .. 1 and classes, int64 (N, H, W), of one size.

    A process without a picture left gets a batch of none.
    """
    if not pixels:
        return torch.zeros(0, 3, 1, 1), torch.zeros(0, 1, 1, dtype=torch.int64)
    classes = torch.stack([target["classes"] for target in targets])
    return torch.stack(pixels).float() / 255, classes.long()
