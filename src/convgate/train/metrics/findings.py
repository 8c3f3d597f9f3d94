"""What was found in one picture and what is there, in a form that is small and travels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from convgate.pictures.masks import coder

__all__ = ["Findings", "findings", "truth"]

Floats = np.ndarray[Any, np.dtype[np.float64]]
Numbers = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
MOST = 100  # COCO counts the best hundred detections of a picture


@dataclass(frozen=True)
class Findings:
    """Objects of one picture, in pixels of its file.

    Args:
        boxes: (n, 4) left, top, right, bottom.
        labels: (n,).
        area: (n,), by which COCO tells small from large.
        scores: (n,) of detections, best first.
        crowd: (n,) of true objects: COCO's crowds.
        difficult: (n,) of true objects: VOC's difficult ones.
        masks: run-length codes of the picture as it was read, if there are masks.
        size: its height and width as it was read.
    """

    boxes: Floats
    labels: Numbers
    area: Floats
    scores: Floats
    crowd: Flags
    difficult: Flags
    masks: list[Any] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)


def findings(detections: dict[str, Tensor], shrunk: float) -> Findings:
    """Take the best hundred detections of a picture that was read ``shrunk`` times smaller."""
    best = detections["scores"].argsort(descending=True, stable=True)[:MOST]
    boxes = _floats(detections["boxes"][best]) * shrunk
    masks = detections.get("masks")
    codes = [] if masks is None else encode(masks[best, 0] > 0.5)
    none = np.zeros(len(boxes), dtype=bool)
    area = _areas(codes, shrunk) if masks is not None else _box_area(boxes)
    labels = detections["labels"][best].cpu().numpy()
    return Findings(boxes, labels, area, _floats(detections["scores"][best]), none, none, codes)


def truth(target: dict[str, Tensor], size: tuple[int, int]) -> Findings:
    """Take the true objects of a picture; ``size`` is the height and width it was read at."""
    shrunk = float(target["shrunk"])
    boxes = _floats(target["boxes"]) * shrunk
    masks = target.get("masks")
    codes = [] if masks is None else encode(masks.bool())
    measured = _areas(codes, shrunk) if masks is not None else _box_area(boxes)
    given = _floats(target["area"])  # 0 where the annotation does not say
    return Findings(
        boxes,
        target["labels"].cpu().numpy(),
        np.where(given > 0, given, measured),
        np.ones(len(boxes)),
        target["crowd"].cpu().numpy(),
        target["difficult"].cpu().numpy(),
        codes,
        size,
    )


def encode(masks: Tensor) -> list[Any]:
    """Return run-length codes of bool (n, H, W)."""
    columns = masks.cpu().permute(1, 2, 0).numpy().astype(np.uint8)
    return list(coder().encode(np.asfortranarray(columns)))


def _areas(codes: list[Any], shrunk: float) -> Floats:
    return np.asarray(coder().area(codes) if codes else [], dtype=np.float64) * shrunk**2


def _box_area(boxes: Floats) -> Floats:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _floats(values: Tensor) -> Floats:
    return values.detach().double().cpu().numpy()
