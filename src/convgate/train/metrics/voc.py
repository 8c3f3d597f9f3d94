"""PASCAL VOC's average precision at an overlap of one half.

Source: Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 2010, section
4.2 (eleven points); the development kit of 2010 and later (all points).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convgate.train.metrics.findings import Findings, Flags, Floats

__all__ = ["average_precision", "voc_scores"]

Pair = tuple[Findings, Findings]
_OVERLAP = 0.5


def voc_scores(pairs: Sequence[Pair]) -> dict[str, float]:
    """Return the mean over the classes that occur, in percent: voc_ap, and voc_ap11 of 11 points.

    Detections are taken by falling score. Each belongs to the true object that it overlaps most; it
    is right if that is at least one half and nobody had the object before, and does not count if
    the object is difficult.
    """
    labels = sorted({int(label) for _, true in pairs for label in true.labels[~true.difficult]})
    curves = [_curve(pairs, label) for label in labels]
    every = [average_precision(recall, precision) for recall, precision in curves]
    eleven = [average_precision(r, p, eleven_points=True) for r, p in curves]
    means = {"voc_ap": every, "voc_ap11": eleven}
    return {name: round(100 * float(np.mean(aps)), 4) for name, aps in means.items() if aps}


def average_precision(recall: Floats, precision: Floats, *, eleven_points: bool = False) -> float:
    """Return the area below the curve of the best precision at each recall or any greater.

    Args:
        recall: rising, one value a detection.
        precision: as long.
        eleven_points: its mean at the recalls 0, 0.1, ... 1 instead.
    """
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    if eleven_points:
        marks = np.linspace(0, 1, 11)
        return float(best[np.searchsorted(recall, marks - 1e-12)].mean())
    return float((np.diff(recall, prepend=0.0) * best[:-1]).sum())


def _curve(pairs: Sequence[Pair], label: int) -> tuple[Floats, Floats]:
    objects, scores, right, counted = 0, [], [], []
    for found, true in pairs:
        mine, theirs = found.labels == label, true.labels == label
        objects += int((~true.difficult[theirs]).sum())
        scores.append(found.scores[mine])
        hit, counts = _match(found.boxes[mine], true.boxes[theirs], true.difficult[theirs])
        right.append(hit)
        counted.append(counts)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    hits = np.concatenate(right)[order][np.concatenate(counted)[order]]
    correct = hits.cumsum()
    return correct / objects, correct / np.arange(1, len(hits) + 1)


def _match(found: Floats, true: Floats, difficult: Flags) -> tuple[Flags, Flags]:
    """Tell of each detection, best first, whether it is right and whether it counts."""
    right, counts = np.zeros(len(found), dtype=bool), np.ones(len(found), dtype=bool)
    taken: set[int] = set()
    for i, box in enumerate(found):
        overlap = _overlap(box, true)
        nearest = int(overlap.argmax()) if len(true) else -1
        if nearest < 0 or overlap[nearest] < _OVERLAP:
            continue
        if difficult[nearest]:
            counts[i] = False
        elif nearest not in taken:
            right[i] = True
            taken.add(nearest)
    return right, counts


def _overlap(box: Any, others: Floats) -> Floats:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = (high - low).clip(min=0).prod(axis=1)
    whole = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1)
    return shared / (whole - shared)
