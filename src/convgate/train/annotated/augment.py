"""Augmentation of pictures with objects: the ``[augment_objects]`` section and what it does.

Torchvision's transforms move pixels, boxes and masks together; it has no mosaic.

All random numbers come from torch's generator, which the caller seeds for each picture.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from convgate.errors import InputError
from convgate.pictures.decoding import to_tensor
from convgate.train.annotated.images import Sample

SampleDict = dict[str, Any]
"""``image`` and either ``boxes``, ``labels`` and maybe ``masks``, or ``classes`` (1, H, W)."""
_GREY = (124, 116, 104)  # ImageNet's mean colour
_IGNORED = 255
_FILL: dict[Any, Any] = {tv_tensors.Image: _GREY, "others": 0}
_MOSAIC_GREY = 114
_ANGLE, _SHEAR, _SHIFT = 10.0, 2.0, 0.1


@dataclass(frozen=True, kw_only=True)
class ObjectAugmentSpec:
    """What happens to training pictures of detection and segmentation.

    Several input sizes are not here: they are a detector's own (``detector.options.min_size``).
    """

    # "none"; "crop" (half of the pictures: shorter side to one of ``sides``, then a random window
    # of ``crop_px`` a side); "ssd" (colours, zoom out, a window with some overlap); "mosaic" (with
    # probability ``mosaic`` four pictures in one, then scaled by ``scale``); "window" (scaled by
    # ``scale``, then a window of ``window_px`` a side, padded)
    name: Literal["none", "crop", "ssd", "mosaic", "window"] = "none"
    flip: bool = True  # mirror left to right with probability 1/2
    sides: tuple[int, ...] = (400, 500, 600)  # lengths of the shorter side before "crop", in pixels
    crop_px: tuple[int, int] = (384, 600)  # min and max side of the window of "crop"
    mosaic: float = 0.5  # probability of a mosaic
    scale: tuple[float, float] = (0.5, 1.5)  # min and max factor of "mosaic" and "window"
    window_px: int = 513  # side of what "mosaic" and "window" return

    def __post_init__(self) -> None:
        if not self.sides or min(self.sides) < 1:
            raise InputError(f"sides={list(self.sides)} must be lengths of 1 or more")
        for key, (low, high) in (("crop_px", self.crop_px), ("scale", self.scale)):
            if not 0 < low <= high:
                raise InputError(f"{key}=[{low}, {high}] must rise from above 0")
        if not 0 <= self.mosaic <= 1:
            raise InputError(f"mosaic={self.mosaic} must lie in 0..1")
        if self.window_px < 1:
            raise InputError(f"window_px={self.window_px} must be 1 or more")


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
        low, high = spec.crop_px
        height, width = (
            int(torch.randint(min(low, side), min(high, side) + 1, ()))
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


def mosaic(samples: Sequence[SampleDict], side: int, scale: tuple[float, float]) -> SampleDict:
    """Lay four samples around a random point of a double canvas; turn, scale and cut its middle.

    Each picture is first scaled to fit ``side`` x ``side``; ``scale`` bounds the second factor.

    Shape: the result's image is (3, side, side).
    """
    across, down = (side * (0.5 + torch.rand(2))).int().tolist()
    image = torch.full((3, 2 * side, 2 * side), _MOSAIC_GREY, dtype=torch.uint8)
    boxes, masks = [], []
    for corner, sample in enumerate(samples):
        sample = _fitted(sample, side)
        height, width = sample["image"].shape[1:]
        left = across if corner % 2 else across - width
        top = down if corner // 2 else down - height
        _paste(image, sample["image"], left, top)
        boxes.append(sample["boxes"] + torch.tensor([left, top, left, top]))
        if "masks" in sample:
            masks.append(image.new_zeros(len(sample["masks"]), *image.shape[1:]))
            _paste(masks[-1], sample["masks"], left, top)
    return _turned(
        {
            "image": tv_tensors.Image(image),
            "boxes": tv_tensors.BoundingBoxes(
                torch.cat(boxes), format="XYXY", canvas_size=(2 * side, 2 * side)
            ),
            "labels": torch.cat([sample["labels"] for sample in samples]),
            **({"masks": tv_tensors.Mask(torch.cat(masks))} if masks else {}),
        },
        side,
        scale,
    )


def _fitted(sample: SampleDict, side: int) -> SampleDict:
    factor = side / max(sample["image"].shape[1:])
    size = [max(1, int(edge * factor)) for edge in sample["image"].shape[1:]]
    return _each(sample, lambda value: functional.resize(value, size))


def _paste(canvas: Tensor, part: Tensor, left: int, top: int) -> None:
    """Write ``part`` (..., h, w) into ``canvas`` (..., H, W), as far as it lies inside."""
    height, width = part.shape[-2:]
    rows = slice(max(top, 0), min(top + height, canvas.shape[-2]))
    columns = slice(max(left, 0), min(left + width, canvas.shape[-1]))
    inner = part[
        ..., rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]
    canvas[..., rows, columns] = inner


def _turned(sample: SampleDict, side: int, scale: tuple[float, float]) -> SampleDict:
    draws = (2 * torch.rand(5) - 1).tolist()
    factor = scale[0] + (scale[1] - scale[0]) * float(torch.rand(()))
    turn: dict[str, Any] = {
        "angle": _ANGLE * draws[0],
        "translate": [_SHIFT * side * draws[1], _SHIFT * side * draws[2]],
        "scale": factor,
        "shear": [_SHEAR * draws[3], _SHEAR * draws[4]],
    }

    def change(value: Any) -> Any:
        fill = _MOSAIC_GREY if isinstance(value, tv_tensors.Image) else 0
        return functional.center_crop(functional.affine(value, **turn, fill=fill), [side, side])

    return _each(sample, change)


def _each(sample: SampleDict, change: Any) -> SampleDict:
    """Change what lies on the picture: pixels, boxes and masks, but not labels."""
    return {k: change(v) if isinstance(v, tv_tensors.TVTensor) else v for k, v in sample.items()}
