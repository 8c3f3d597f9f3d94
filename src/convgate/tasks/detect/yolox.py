"""YOLOX: "YOLOX: Exceeding YOLO Series in 2021", Ge et al. 2021. https://arxiv.org/abs/2107.08430.

YOLOX-Nano is this detector on the backbone "csp_darknet_nano".
"""

from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import box_iou

from convgate.tasks.backbone import Backbone
from convgate.tasks.detect.base import DETECTORS, Sizes
from convgate.tasks.detect.single_stage import SingleStage, Target, cell_corners, strongest
from convgate.tasks.detect.yolox_parts import PAFPN, DecoupledHead

RADIUS = 1.5  # cells around an object's centre, in strides
IOU_WEIGHT = 3.0
FAR = 1e6  # the cost of a cell that is near another object alone
MAX_CELLS = 10  # cells whose overlaps are added up to tell how many an object gets
LEVELS = 3
BOX_WEIGHT = 5.0
GREY = 114 / 255  # what images are padded with


class Assignment(NamedTuple):
    """The cells that learn an object, the object of each, and the overlap with it.

    Shape: cells, objects and ious are (P,), the first two int64.
    """

    cells: Tensor
    objects: Tensor
    ious: Tensor


class CellOutputs(NamedTuple):
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
def simota(given: CellOutputs, boxes: Tensor, classes: Tensor) -> Assignment:
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


def _cost(given: CellOutputs, cells: Tensor, classes: Tensor, ious: Tensor) -> Tensor:
    count, kinds = len(classes), given.logits.shape[1]
    p = (given.logits[cells].sigmoid() * given.objectness[cells].sigmoid()).sqrt()
    labels = F.one_hot(classes, kinds).to(p.dtype)[:, None].expand(count, len(cells), kinds)
    by_class = F.binary_cross_entropy(p.expand_as(labels), labels, reduction="none").sum(2)
    return by_class - IOU_WEIGHT * (ious + 1e-8).log()


def _cheapest(cost: Tensor, ious: Tensor) -> Tensor:
    """Return which cells each object wants, (G, P)."""
    best = ious.topk(min(MAX_CELLS, ious.shape[1]), dim=1).values
    wanted = torch.zeros_like(cost, dtype=torch.bool)
    for row, costs, k in zip(wanted, cost, best.sum(1).int().clamp(min=1).tolist(), strict=True):
        row[costs.topk(k, largest=False).indices] = True
    return wanted


class Letterbox(GeneralizedRCNNTransform):  # type: ignore[misc]
    """The resizing of torchvision with grey around images where a batch has larger ones."""

    def batch_images(self, images: list[Tensor], size_divisible: int = 32) -> Tensor:
        blank = self.normalize(images[0].new_full((images[0].shape[0], 1, 1), GREY))
        return super().batch_images([image - blank for image in images], size_divisible) + blank


@DETECTORS.register("yolox")
class YOLOX(SingleStage):
    """One box a cell on three maps; SimOTA chooses the cells that learn.

    Losses, summed over the images and divided by the number of cells that learn:
    5 (1 - IoU^2), binary cross entropies of objectness, and of the class against IoU; while
    ``closing`` is set, as in the last epochs of a run, also |code - code of the object|.

    Shape: as `create_detector`.
    Source: arXiv 2107.08430; as in Megvii-BaseDetection/YOLOX, yolox/models/yolo_head.py.

    Takes the backbone's three deepest maps; their widths are those of neck and head.
    """

    resize = Letterbox
    gate_sites: ClassVar[str] = "backbone.ends.?,neck.joined.?"
    """Where the ELA paper puts gates: after the backbone, and after the fusions of the neck."""

    def __init__(
        self,
        backbone: Backbone,
        *,
        num_classes: int,
        min_size: Sizes = 640,
        max_size: int = 640,
        score_threshold: float = 0.01,
        nms_threshold: float = 0.65,
        max_detections: int = 100,
    ) -> None:
        super().__init__(backbone, min_size, max_size)
        self.backbone = backbone.last(LEVELS)
        self.neck = PAFPN(backbone.channels)
        self.head = DecoupledHead(backbone.channels, num_classes)
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.max_detections = max_detections
        self.closing = False

    def predict(self, x: Tensor) -> list[CellOutputs]:
        maps = self.neck(list(self.backbone(x).values()))
        corners, strides = cell_corners(maps, self.backbone.strides)
        codes, objectness, logits = self.head(maps).split(
            [4, 1, self.head.to_class[0].out_channels], -1
        )
        centre, side = corners + codes[..., :2] * strides, codes[..., 2:].exp() * strides
        boxes = torch.cat([centre - side / 2, centre + side / 2], -1)
        places = corners + strides / 2, strides
        return [
            CellOutputs(*image, *places)
            for image in zip(boxes, logits, objectness, codes, strict=True)
        ]

    def losses(self, predicted: list[CellOutputs], targets: list[Target]) -> dict[str, Tensor]:
        terms = [_terms(*image) for image in zip(predicted, targets, strict=True)]
        learning = max(sum(count for _, count in terms), 1)
        names = ("loss_box", "loss_objectness", "loss_class", "loss_code")[: 3 + self.closing]
        sums = [torch.stack(each).sum() for each in zip(*(term for term, _ in terms), strict=True)]
        return {name: each / learning for name, each in zip(names, sums, strict=False)}

    def detections(self, predicted: list[CellOutputs]) -> list[Target]:
        return [self._of_image(image) for image in predicted]

    def _of_image(self, given: CellOutputs) -> Target:
        chance, kinds = given.logits.sigmoid().max(1)
        scores = chance * given.objectness.sigmoid().flatten()
        kept = scores > self.score_threshold
        found = {"boxes": given.boxes[kept], "labels": kinds[kept] + 1, "scores": scores[kept]}
        return strongest(found, self.nms_threshold, self.max_detections)


def _terms(given: CellOutputs, target: Target) -> tuple[tuple[Tensor, ...], int]:
    """Return the sums of the four losses of an image, and how many cells learn in it."""
    boxes, classes = target["boxes"].float(), target["labels"] - 1
    cells, objects, ious = simota(given, boxes, classes)
    is_object = torch.zeros_like(given.objectness)
    is_object[cells] = 1
    kinds = F.one_hot(classes[objects], given.logits.shape[1]) * ious[:, None]
    box = (1 - paired_iou(given.boxes[cells], boxes[objects]) ** 2).sum()
    terms = (
        BOX_WEIGHT * box,
        F.binary_cross_entropy_with_logits(given.objectness, is_object, reduction="sum"),
        F.binary_cross_entropy_with_logits(given.logits[cells], kinds, reduction="sum"),
        (given.codes[cells] - encode(boxes[objects], given, cells)).abs().sum(),
    )
    return terms, len(cells)


def encode(boxes: Tensor, given: CellOutputs, cells: Tensor) -> Tensor:
    """Return what cells should have given for boxes, in the codes of `CellOutputs`.

    Shape: boxes (P, 4), cells (P,) -> (P, 4).
    """
    strides = given.strides[cells]
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    corners = given.centres[cells] - strides / 2
    return torch.cat([(centres - corners) / strides, (sides / strides + 1e-8).log()], 1)


def paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the overlap of each box with the one beside it, (P, 4) and (P, 4) -> (P,)."""
    sides = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0)
    shared = sides.prod(1)
    areas = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1)
    return shared / (areas - shared + 1e-16)
