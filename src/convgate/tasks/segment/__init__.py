"""Semantic segmentation: one network, one file, on any backbone."""

from convgate.tasks.segment import deeplabv3  # noqa: F401  enters its name
from convgate.tasks.segment.base import (
    IGNORED,
    SEGMENTERS,
    create_segmenter,
    list_segmenters,
)

__all__ = ["IGNORED", "SEGMENTERS", "create_segmenter", "list_segmenters"]
