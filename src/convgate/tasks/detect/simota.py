"""SimOTA: which cells learn which object, by the cost of what they predict now.

"YOLOX: Exceeding YOLO Series in 2021", Ge et al. 2021. https://arxiv.org/abs/2107.08430
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou

RADIUS = 1.5  # cells around an object's centre, in strides
IOU_WEIGHT = 3.0
FAR = 1e6  # the cost of a cell that is near another object alone
MOST = 10  # cells whose overlaps are added up to tell how many an object gets


class Assignment(NamedTuple):
    """The cells that learn an object, the object of each, and the overlap with it.

    Shape: cells, objects and ious are (P,), the first two int64.
    """

    cells: Tensor
    objects: Tensor
    ious: Tensor


class Predictions(NamedTuple):
    """What the cells of one image predict, and where they are.

    Shape: boxes (A, 4) as x1, y1, x2, y2 in pixels, logits (A, K), objectness (A, 1), codes (A, 4)
    of the boxes (centre from the cell's corner, and log size, in strides), centres (A, 2) in
    pixels, strides (A, 1).
    """

    boxes: Tensor
    logits: Tensor
    objectness: Tensor
    codes: Tensor
    centres: Tensor
    strides: Tensor


@torch.no_grad()
def simota(given: Predictions, boxes: Tensor, classes: Tensor) -> Assignment:
    """Assign objects to cells.

        cost = BCE(sqrt(p_class p_object), one-hot) - 3 log IoU + 1e6 [cell far from the object]

    A cell is near an object within 1.5 strides of its centre, in x and in y. An object gets the k
    cheapest of the cells near any object, with k the sum of its ten best overlaps, at least 1; a
    cell that several objects want goes to the cheapest.

    Shape: boxes (G, 4), classes (G,) int64 from 0.
    Source: arXiv 2107.08430, section 2.1; the radius, weights and centre rule as in
        Megvii-BaseDetection/YOLOX, yolox/models/yolo_head.py.
    """
    middles = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2  # (G, 1, 2)
    near = ((given.centres - middles).abs() < RADIUS * given.strides).all(2)  # (G, A)
    cells = near.any(0).nonzero().flatten()
    if len(cells) == 0:
        return Assignment(cells, cells, boxes.new_zeros(0))
    ious = box_iou(boxes, given.boxes[cells])  # (G, P)
    cost = _cost(given, cells, classes, ious) + FAR * ~near[:, cells]
    wanted = _cheapest(cost, ious)
    contested = wanted.sum(0) > 1
    wanted[:, contested] = F.one_hot(cost[:, contested].argmin(0), len(boxes)).T.bool()
    taken = wanted.any(0)
    objects = wanted[:, taken].int().argmax(0)
    return Assignment(cells[taken], objects, ious[objects, taken.nonzero().flatten()])


def _cost(given: Predictions, cells: Tensor, classes: Tensor, ious: Tensor) -> Tensor:
    count, kinds = len(classes), given.logits.shape[1]
    p = (given.logits[cells].sigmoid() * given.objectness[cells].sigmoid()).sqrt()
    labels = F.one_hot(classes, kinds).to(p.dtype)[:, None].expand(count, len(cells), kinds)
    by_class = F.binary_cross_entropy(p.expand_as(labels), labels, reduction="none").sum(2)
    return by_class - IOU_WEIGHT * (ious + 1e-8).log()


def _cheapest(cost: Tensor, ious: Tensor) -> Tensor:
    """Return which cells each object wants, (G, P)."""
    best = ious.topk(min(MOST, ious.shape[1]), dim=1).values
    wanted = torch.zeros_like(cost, dtype=torch.bool)
    for row, costs, k in zip(wanted, cost, best.sum(1).int().clamp(min=1).tolist(), strict=True):
        row[costs.topk(k, largest=False).indices] = True
    return wanted
