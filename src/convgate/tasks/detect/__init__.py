"""Detectors: one detector, one file, on any backbone."""

from convgate.tasks.detect import (  # noqa: F401  enter their names
    cascade_mask_rcnn,
    faster_rcnn,
    mask_rcnn,
    retinanet,
    ssdlite320,
    yolof,
    yolox,
)
from convgate.tasks.detect.base import DETECTORS, create_detector, list_detectors

__all__ = ["DETECTORS", "create_detector", "list_detectors"]
