"""The ``[augment_objects]`` section of a recipe: augmentation of pictures with objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convgate.errors import InputError

__all__ = ["ObjectAugmentSpec"]


@dataclass(frozen=True, kw_only=True)
class ObjectAugmentSpec:
    """What happens to training pictures of detection and segmentation.

    Several input sizes are not here: they are a detector's own (``detector.options.min_size``).

    Args:
        name: "none"; "crop" (half of the pictures: shorter side to one of ``sides``, then a random
            window of ``crop_px`` a side); "ssd" (colours, zoom out, a window with some overlap);
            "mosaic" (with probability ``mosaic`` four pictures in one, then scaled by ``scale``);
            "window" (scaled by ``scale``, then a window of ``window_px`` a side, padded).
        flip: mirror left to right with probability 1/2.
        sides: lengths of the shorter side before "crop", in pixels.
        crop_px: least and greatest side of the window of "crop".
        mosaic: probability of a mosaic.
        scale: least and greatest factor of "mosaic" and "window".
        window_px: side of what "mosaic" and "window" return.

    Raises:
        InputError: for a value outside its range.
    """

    name: Literal["none", "crop", "ssd", "mosaic", "window"] = "none"
    flip: bool = True
    sides: tuple[int, ...] = (400, 500, 600)
    crop_px: tuple[int, int] = (384, 600)
    mosaic: float = 0.5
    scale: tuple[float, float] = (0.5, 1.5)
    window_px: int = 513

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
