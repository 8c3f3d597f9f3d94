"""Average precision of a split, fed batch by batch in any number of processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, distributed

from convgate.pictures.masks import coder
from convgate.train.metrics.coco import coco_scores
from convgate.train.metrics.findings import Findings, findings, truth
from convgate.train.metrics.voc import voc_scores

__all__ = ["AveragePrecision"]


class AveragePrecision:
    """COCO's scores of boxes, of masks where there are some, and VOC's where asked for.

    Args:
        masks: detections and targets have masks.
        voc: also score as VOC does.

    Raises:
        InputError: where pycocotools is not installed.
    """

    def __init__(self, *, masks: bool, voc: bool) -> None:
        coder()
        self.masks, self.voc = masks, voc
        self.pairs: list[tuple[Findings, Findings]] = []

    def reset(self) -> None:
        self.pairs = []

    def update(
        self,
        images: Sequence[Tensor],
        detections: Sequence[dict[str, Tensor]],
        targets: Sequence[dict[str, Tensor]],
    ) -> None:
        """Add what was found in some pictures and what is there."""
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

    def _gathered(self) -> list[tuple[Findings, Findings]]:
        if not (distributed.is_available() and distributed.is_initialized()):
            return self.pairs
        parts: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(parts, self.pairs)
        longest = max(len(part) for part in parts)
        # The processes took every n-th picture: deal them back into the order of the split.
        return [part[i] for i in range(longest) for part in parts if i < len(part)]
