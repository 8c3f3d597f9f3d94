"""Uniform matching: every object gets as many anchors as any other, whatever its size.

"You Only Look One-level Feature", Chen et al. 2021. https://arxiv.org/abs/2103.09460
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import box_convert, box_iou

NEAREST = 4  # of the predictions, and as many of the anchors
LEAST_ANCHOR = 0.15  # overlap of an anchor with its object, below which it does not learn
MOST_OTHER = 0.7  # overlap of an unmatched prediction with any object, above which it is left out


class Matches(NamedTuple):
    """Which anchors learn which objects, and which learn nothing, not even the background.

    An anchor may be in several pairs, also twice with one object: as the object's near anchor and
    as the anchor of a near prediction.

    Shape: anchors and objects are (P,), int64; ignored is (A,), bool.
    """

    anchors: Tensor
    objects: Tensor
    ignored: Tensor


@torch.no_grad()
def uniform_match(predicted: Tensor, anchors: Tensor, boxes: Tensor) -> Matches:
    """Match objects with the anchors whose predictions, or which themselves, are nearest.

    Nearness is the L1 distance of centre, width and height in pixels.

    Shape: predicted (A, 4), anchors (A, 4), boxes (G, 4), all as x1, y1, x2, y2.
    Source: arXiv 2103.09460, section 4.2; four of each and the two thresholds as in
        chensnathan/YOLOF, yolof/modeling/uniform_matcher.py and yolof.py.
    """
    ignored = torch.zeros(len(anchors), dtype=torch.bool, device=anchors.device)
    if len(boxes) == 0:
        nothing = torch.zeros(0, dtype=torch.int64, device=anchors.device)
        return Matches(nothing, nothing, ignored)
    near = torch.cat([_nearest(predicted, boxes), _nearest(anchors, boxes)])  # (8, G)
    objects = torch.arange(len(boxes), device=boxes.device).expand_as(near).flatten()
    near = near.flatten()
    learns = box_iou(anchors, boxes)[near, objects] >= LEAST_ANCHOR
    ignored |= box_iou(predicted, boxes).amax(1) > MOST_OTHER
    ignored[near] = True
    ignored[near[learns]] = False
    return Matches(near[learns], objects[learns], ignored)


def _nearest(candidates: Tensor, boxes: Tensor) -> Tensor:
    a, b = (box_convert(x, "xyxy", "cxcywh") for x in (candidates, boxes))
    distances = torch.cdist(a, b, p=1)  # (A, G)
    return distances.topk(min(NEAREST, len(a)), dim=0, largest=False).indices
