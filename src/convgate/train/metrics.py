"""Average precision of a split, as COCO and PASCAL VOC define it.

COCO is scored by pycocotools itself, the reference. torchmetrics calls it too, but with overlaps
and recalls rounded to single precision, which moves some scores.

VOC's: Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 2010, section
4.2 (eleven points); the development kit of 2010 and later (all points).
"""

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from torch import Tensor, distributed

from convgate.pictures.masks import coder

Floats = np.ndarray[Any, np.dtype[np.float64]]
Numbers = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
MAX_DETECTIONS = 100  # COCO counts the best hundred detections of a picture
_STATS = ("", "50", "75", "_small", "_medium", "_large")
_OVERLAP = 0.5


@dataclass(frozen=True)
class Findings:
    """Objects of one picture, in pixels of its file."""

    boxes: Floats  # (n, 4) left, top, right, bottom
    labels: Numbers  # (n,)
    area: Floats  # (n,), by which COCO tells small from large
    scores: Floats  # (n,) of detections, best first
    crowd: Flags  # (n,) of true objects: COCO's crowds
    difficult: Flags  # (n,) of true objects: VOC's difficult ones
    masks: list[Any] = field(default_factory=list)  # run-length codes, as it was read
    size: tuple[int, int] = (0, 0)  # its height and width as it was read


def findings(detections: dict[str, Tensor], shrunk: float) -> Findings:
    """Take the best hundred detections of a picture that was read ``shrunk`` times smaller."""
    best = detections["scores"].argsort(descending=True, stable=True)[:MAX_DETECTIONS]
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


Pair = tuple[Findings, Findings]


def coco_scores(pairs: Sequence[Pair], kind: Literal["box", "mask"]) -> dict[str, float]:
    """Score detections against true objects with pycocotools, in percent.

    Crowds are as COCO has them: a detection inside one is neither right nor wrong. Sizes of which
    there is no object are left out.

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
    """Return the area below the curve of the best precision at each recall or any greater."""
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


class AveragePrecision:
    """COCO's scores of boxes, of masks where there are some, and VOC's where asked for."""

    def __init__(self, *, masks: bool, voc: bool) -> None:
        coder()
        self.masks, self.voc = masks, voc
        self.pairs: list[Pair] = []

    def reset(self) -> None:
        self.pairs = []

    def update(
        self,
        images: Sequence[Tensor],
        detections: Sequence[dict[str, Tensor]],
        targets: Sequence[dict[str, Tensor]],
    ) -> None:
        for image, found, target in zip(images, detections, targets, strict=True):
            height, width = image.shape[1:]
            true = truth(target, (height, width))
            self.pairs.append((findings(found, float(target["shrunk"])), true))

    def compute(self) -> dict[str, float]:
        """Return the scores over all processes, in percent; none where nothing is to be found."""
        pairs = self._gathered()
        scores = coco_scores(pairs, "box")
        if self.masks:
            scores |= coco_scores(pairs, "mask")
        return scores | (voc_scores(pairs) if self.voc else {})

    def _gathered(self) -> list[Pair]:
        if not (distributed.is_available() and distributed.is_initialized()):
            return self.pairs
        parts: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(parts, self.pairs)
        longest = max(len(part) for part in parts)
        # The processes took every n-th picture: deal them back into the order of the split.
        return [part[i] for i in range(longest) for part in parts if i < len(part)]
