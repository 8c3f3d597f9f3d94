"""A detector whose work is the same for every picture, to be counted and timed."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import MultiScaleRoIAlign, roi_align

from convgate.measure.operators import tensors
from convgate.tasks.detect.single_stage import SingleStage

PROPOSALS, MASKS = 1000, 100
WORK = (
    f"detectors: one pass with {PROPOSALS:,} proposals and {MASKS} masks an image where there are "
    "such, without resizing, decoding by score, and suppression"
)


class FixedWork(nn.Module):
    """A detector's layers on images as they come, without the choice of boxes.

    How many boxes a real pass keeps hangs on the picture and on the weights. Here the heads of an
    R-CNN take 1,000 proposals and 100 masks of each image, every box a whole map and as many on
    each map of the pyramid.

    Shape: x (N, 3, H, W) -> all that the layers give, as a list of tensors.
    Source: the numbers of boxes as `forward_dummy` of open-mmlab/mmdetection 2 has them, by which
        the papers' FLOPs were counted.
    """

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector: Any = detector

    def forward(self, x: Tensor) -> list[Tensor]:
        if isinstance(self.detector, SingleStage):
            return list(tensors(self.detector.predict(x)))
        maps = self.detector.backbone(x)
        if not isinstance(self.detector, GeneralizedRCNN):
            return list(tensors(self.detector.head(list(maps.values()))))
        heads: Any = self.detector.roi_heads
        found = [self.detector.rpn.head(list(maps.values()))]
        found += [_stage(stage, maps) for stage in getattr(heads, "stages", [heads])]
        return list(tensors(found))


def _stage(stage: RoIHeads, maps: Mapping[str, Tensor]) -> list[Any]:
    boxes = _pooled(stage.box_roi_pool, maps, PROPOSALS)
    found = [stage.box_predictor(stage.box_head(boxes))]
    if stage.has_mask():
        masks = _pooled(stage.mask_roi_pool, maps, MASKS)
        found.append(stage.mask_predictor(stage.mask_head(masks)))
    return found


def _pooled(pool: MultiScaleRoIAlign, maps: Mapping[str, Tensor], count: int) -> Tensor:
    """Return ``count`` boxes of each image, (N count, C, side, side)."""
    names = pool.featmap_names
    parts = []
    for name in names:
        y = maps[name].float()  # no kernel of torchvision takes less
        whole = y.new_tensor([0, 0, y.shape[3], y.shape[2]])
        boxes = [whole.expand(count // len(names), 4)] * len(y)
        parts.append(roi_align(y, boxes, pool.output_size, sampling_ratio=pool.sampling_ratio))
    return torch.cat(parts).to(maps[names[0]].dtype)
