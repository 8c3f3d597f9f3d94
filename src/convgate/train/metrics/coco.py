"""COCO's average precision: over ten overlaps, at one, and by the size of the objects."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from convgate.train.metrics.findings import Findings

__all__ = ["coco_scores"]

Pair = tuple[Findings, Findings]
_STATS = ("", "50", "75", "_small", "_medium", "_large")


def coco_scores(pairs: Sequence[Pair], kind: Literal["box", "mask"]) -> dict[str, float]:
    """Score detections against true objects with pycocotools, in percent.

    Crowds are as COCO has them: a detection inside one is neither right nor wrong. Sizes of which
    there is no object are left out.

    Args:
        pairs: detections and true objects of each picture.
        kind: what must overlap.

    Returns:
        box_ap (overlaps 0.50 to 0.95), box_ap50, box_ap75, box_ap_small (area below 32²),
        box_ap_medium, box_ap_large (above 96²); or the same of masks.
    """
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        sheets = [_sheet(pairs, side, kind) for side in (1, 0)]
        evaluation = COCOeval(*sheets, iouType="bbox" if kind == "box" else "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    found = zip(_STATS, evaluation.stats, strict=False)
    return {f"{kind}_ap{name}": round(100 * float(ap), 4) for name, ap in found if ap >= 0}


def _sheet(pairs: Sequence[Pair], side: int, kind: str) -> Any:
    """Return one side of the pairs as pycocotools keeps it; ids from 1, for 0 means no match."""
    from pycocotools.coco import COCO

    sheet = COCO()
    labels = {int(label) for pair in pairs for part in pair for label in part.labels}
    annotations = [row for i, pair in enumerate(pairs, 1) for row in _rows(pair[side], i, kind)]
    sheet.dataset = {
        "images": [
            {"id": i, "height": pair[1].size[0], "width": pair[1].size[1]}
            for i, pair in enumerate(pairs, 1)
        ],
        "categories": [{"id": label} for label in sorted(labels)],
        "annotations": [{**row, "id": i} for i, row in enumerate(annotations, 1)],
    }
    sheet.createIndex()
    return sheet


def _rows(found: Findings, image: int, kind: str) -> Iterator[dict[str, Any]]:
    for i, (left, top, right, bottom) in enumerate(found.boxes.tolist()):
        row = {
            "image_id": image,
            "category_id": int(found.labels[i]),
            "bbox": [left, top, right - left, bottom - top],
            "area": float(found.area[i]),
            "iscrowd": int(found.crowd[i]),
            "score": float(found.scores[i]),
        }
        yield row | {"segmentation": found.masks[i]} if kind == "mask" else row
