"""Four pictures in one.

Source: Ge et al., arXiv 2107.08430 (YOLOX), section 2.1, after Bochkovskiy et al., arXiv
2004.10934, section 3.3; angles and shift as in Megvii-BaseDetection/YOLOX.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from convgate.train.annotated.augment import SampleDict

__all__ = ["mosaic"]

_GREY = 114
_ANGLE, _SHEAR, _SHIFT = 10.0, 2.0, 0.1


def mosaic(samples: Sequence[SampleDict], side: int, scale: tuple[float, float]) -> SampleDict:
    """Lay four samples around a random point of a double canvas; turn, scale and cut its middle.

    Each picture is first scaled to fit ``side`` x ``side``; ``scale`` bounds the second factor.

    Shape: the result's image is (3, side, side).
    """
    across, down = (side * (0.5 + torch.rand(2))).int().tolist()
    image = torch.full((3, 2 * side, 2 * side), _GREY, dtype=torch.uint8)
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
        fill = _GREY if isinstance(value, tv_tensors.Image) else 0
        return functional.center_crop(functional.affine(value, **turn, fill=fill), [side, side])

    return _each(sample, change)


def _each(sample: SampleDict, change: Any) -> SampleDict:
    """Change what lies on the picture: pixels, boxes and masks, but not labels."""
    return {k: change(v) if isinstance(v, tv_tensors.TVTensor) else v for k, v in sample.items()}
