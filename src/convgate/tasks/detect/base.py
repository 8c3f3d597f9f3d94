"""Detectors by name, and what all of them take and give."""

from typing import Any

from torch import nn

from convgate.registry import Registry
from convgate.tasks.backbone import Backbone

DETECTORS: Registry[nn.Module] = Registry("detector")

Sizes = int | tuple[int, ...]
"""Shorter side of the resized image in pixels; of several, each training image draws one."""


def create_detector(
    name: str, backbone: Backbone, *, num_classes: int, **options: Any
) -> nn.Module:
    """Build a detector by its registered name.

    In training it maps images and targets to a dict of losses, in evaluation images to detections:

    - images: a list of (3, H, W) tensors in 0..1, each of its own size; the detector subtracts the
      backbone's mean, divides by its deviation and resizes.
    - targets: for each image `boxes` (K, 4), float, as x1, y1, x2, y2 in pixels with x1 < x2 and
      y1 < y2; `labels` (K,), int64, from 1 to num_classes; `masks` (K, H, W), uint8, where the
      detector has masks. K may be 0.
    - detections: for each image `boxes`, `labels`, `scores`, best first, and `masks` (K, 1, H, W)
      in 0..1 where the detector has masks.

    Args:
        name: One of `list_detectors()`.
        backbone: The deepest of its feature maps are taken, as many as the detector needs.
        num_classes: Classes of objects, without a background.
        options: The detector's own, and those that all take: `min_size` (shorter side of the
            resized image in pixels; of several, training draws one), `max_size` (longer side at
            most), `score_threshold` (detections at or below it are dropped), `nms_threshold` (of
            two boxes of a class that overlap by more, the weaker is dropped) and
            `max_detections` (of one image); SSDLite has `image_px` for the two sizes.

    Raises:
        InputError: for an unknown name or option, or a backbone with too few maps.
    """
    return DETECTORS.create(name, backbone, num_classes=num_classes, **options)


def list_detectors() -> list[str]:
    return list(DETECTORS)
