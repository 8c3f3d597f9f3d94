"""Augmentation of one picture with its objects, through torchvision's transforms.

All random numbers come from torch's generator, which the caller seeds for each picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from convgate.pictures.decoding import to_tensor
from convgate.train.annotated.images import Sample
from convgate.train.annotated.specs import ObjectAugmentSpec

__all__ = ["SampleDict", "create_transform", "sample_dict", "sanitize"]

SampleDict = dict[str, Any]
"""``image`` and either ``boxes``, ``labels`` and maybe ``masks``, or ``classes`` (1, H, W)."""
_GREY = (124, 116, 104)  # ImageNet's mean colour
_IGNORED = 255
_FILL: dict[Any, Any] = {tv_tensors.Image: _GREY, "others": 0}


def sample_dict(sample: Sample) -> SampleDict:
    """Return what is trained on of a sample: all but crowds."""
    kept = ~sample.crowd
    fields = {
        "image": tv_tensors.Image(to_tensor(sample.image)),
        "boxes": tv_tensors.BoundingBoxes(
            sample.boxes[kept], format="XYXY", canvas_size=sample.image.size[::-1]
        ),
        "labels": sample.labels[kept],
    }
    if sample.masks is not None:
        fields["masks"] = tv_tensors.Mask(sample.masks[kept])
    return fields


def sanitize(sample: SampleDict) -> SampleDict:
    """Cut boxes off at the border and leave out those of less than a pixel."""
    clean = v2.SanitizeBoundingBoxes(min_size=1, labels_getter=lambda found: found["labels"])
    return clean(v2.ClampBoundingBoxes()(sample))


def create_transform(spec: ObjectAugmentSpec) -> Callable[[SampleDict], SampleDict]:
    """Return what ``spec`` does to one sample; a mosaic is made of four before."""
    steps = _STEPS[spec.name](spec) if spec.name in _STEPS else []
    if spec.flip:
        steps.append(v2.RandomHorizontalFlip())
    return v2.Compose([*steps, v2.Identity()])  # which takes no empty list


def _crop(spec: ObjectAugmentSpec) -> list[Any]:
    """Source: Carion et al., arXiv 2005.12872, section 4, "random crop augmentation"."""

    def window(sample: SampleDict) -> SampleDict:
        least, most = spec.crop_px
        height, width = (
            int(torch.randint(min(least, side), min(most, side) + 1, ()))
            for side in sample["image"].shape[-2:]
        )
        return v2.RandomCrop((height, width))(sample)

    return [v2.RandomApply([v2.RandomShortestSize(list(spec.sides)), window], p=0.5)]


def _ssd(spec: ObjectAugmentSpec) -> list[Any]:
    """Source: Liu et al., arXiv 1512.02325, section 2.2, "data augmentation"."""
    return [v2.RandomPhotometricDistort(), v2.RandomZoomOut(fill=_FILL), v2.RandomIoUCrop()]


def _window(spec: ObjectAugmentSpec) -> list[Any]:
    """Source: Chen et al., arXiv 1706.05587, section 4.1: scaled, padded, cut."""

    def scale(sample: SampleDict) -> SampleDict:
        low, high = spec.scale
        factor = low + (high - low) * float(torch.rand(()))
        size = [max(1, round(side * factor)) for side in sample["image"].shape[-2:]]
        return v2.Resize(size)(sample)

    fill = _FILL | {tv_tensors.Mask: _IGNORED}
    side = spec.window_px
    return [scale, v2.RandomCrop((side, side), pad_if_needed=True, fill=fill)]


def _jitter(spec: ObjectAugmentSpec) -> list[Any]:
    """Source: Ge et al., arXiv 2107.08430, section 2.1; 5 of 180 degrees, 30 of 255 levels."""
    return [v2.ColorJitter(brightness=30 / 255, saturation=30 / 255, hue=5 / 180)]


_STEPS: dict[str, Callable[[ObjectAugmentSpec], list[Any]]] = {
    "crop": _crop,
    "ssd": _ssd,
    "window": _window,
    "mosaic": _jitter,
}
