"""YOLOF: "You Only Look One-level Feature", Chen et al. 2021. https://arxiv.org/abs/2103.09460."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from convgate.errors import InputError
from convgate.tasks.backbone import Backbone
from convgate.tasks.detect.base import DETECTORS, Sizes
from convgate.tasks.detect.shift import Shifting
from convgate.tasks.detect.single_stage import SingleStage, Target, strongest
from convgate.tasks.detect.uniform import uniform_match
from convgate.tasks.detect.yolof_parts import Decoder, DilatedEncoder

SIDES = (1, 2, 4, 8, 16)  # of the anchors in strides: 32 to 512 px at stride 32
SHIFT_PX = 32  # the farthest that a box's centre leaves its anchor's
ALPHA, GAMMA = 0.25, 2.0
CANDIDATES = 1000


class Anchored(NamedTuple):
    """What one image's anchors predict.

    Shape: logits (A, K), boxes (A, 4) and anchors (A, 4) as x1, y1, x2, y2 in pixels.
    """

    logits: Tensor
    boxes: Tensor
    anchors: Tensor


@DETECTORS.register("yolof")
class YOLOF(SingleStage):
    """One map, five square anchors a cell; uniform matching chooses the anchors that learn.

    Losses, divided by the number of anchors that learn in the batch: focal loss of the classes,
    GIoU of the boxes. An anchor of objects of two classes learns both, where the published code
    keeps the one that it writes last.

    Shape: as `create_detector`.
    Source: arXiv 2103.09460, section 4; as in chensnathan/YOLOF, yolof/modeling/yolof.py.

    Args:
        backbone: Its deepest map is taken.
        num_classes: Classes of objects.
        min_size: Shorter side of the resized image in pixels; of several, training draws one.
        max_size: Longer side at most.
        score_threshold: Detections at or below it are dropped.
        nms_threshold: Of two boxes of a class that overlap by more, the weaker is dropped.
        max_detections: Of one image.
        shift_px: How far half of the resized training images move at most; 32 in YOLOF.
    """

    resize = Shifting
    gate_sites: ClassVar[str] = "backbone.ends.0,encoder.project,encoder.blocks.[012]"
    """Where the ELA paper puts gates: after the backbone, the projection and three blocks."""

    def __init__(
        self,
        backbone: Backbone,
        *,
        num_classes: int,
        min_size: Sizes = 800,
        max_size: int = 1333,
        score_threshold: float = 0.05,
        nms_threshold: float = 0.6,
        max_detections: int = 100,
        shift_px: int = 0,
    ) -> None:
        super().__init__(backbone, min_size, max_size)
        if shift_px < 0:
            raise InputError(f"yolof: shift_px={shift_px} must be 0 or more")
        self.transform.shift_px = shift_px
        self.backbone = backbone.last(1)
        sizes = tuple(side * backbone.strides[0] for side in SIDES)
        self.anchors = AnchorGenerator((sizes,), ((1.0,),))
        self.encoder = DilatedEncoder(backbone.channels[0])
        self.decoder = Decoder(len(SIDES), num_classes)
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.max_detections = max_detections

    def predict(self, x: Tensor) -> list[Anchored]:
        y = self.encoder(self.backbone(x)["0"])
        logits, codes = self.decoder(y)
        anchors = self.anchors(ImageList(x, [tuple(x.shape[2:])]), [y])[0]
        return [
            Anchored(s, decode(c, anchors), anchors) for s, c in zip(logits, codes, strict=True)
        ]

    def losses(self, predicted: list[Anchored], targets: list[Target]) -> dict[str, Tensor]:
        terms = [_terms(*image) for image in zip(predicted, targets, strict=True)]
        learning = max(sum(count for *_, count in terms), 1)
        by_class, by_box, _ = zip(*terms, strict=True)
        return {"loss_class": sum(by_class) / learning, "loss_box": sum(by_box) / learning}

    def detections(self, predicted: list[Anchored]) -> list[Target]:
        return [self._of_image(image) for image in predicted]

    def _of_image(self, given: Anchored) -> Target:
        classes = given.logits.shape[1]
        scores = given.logits.flatten().sigmoid()
        scores, places = scores.topk(min(CANDIDATES, len(given.boxes)))
        kept = scores > self.score_threshold
        scores, places = scores[kept], places[kept]
        boxes, labels = given.boxes[places // classes], places % classes + 1
        found = {"boxes": boxes, "labels": labels, "scores": scores}
        return strongest(found, self.nms_threshold, self.max_detections)


def decode(codes: Tensor, anchors: Tensor) -> Tensor:
    """Move and scale anchors: centre + shift * side, at most 32 px away, and side * e^code.

    Shape: codes (A, 4), anchors (A, 4) -> boxes (A, 4).
    """
    side = (anchors[:, 2:] - anchors[:, :2]).repeat(1, 2)
    most = SHIFT_PX / side[:, :2]
    shift = torch.maximum(torch.minimum(codes[:, :2], most), -most)
    return BoxCoder((1.0, 1.0, 1.0, 1.0)).decode_single(
        torch.cat([shift, codes[:, 2:]], 1), anchors
    )


def _terms(given: Anchored, target: Target) -> tuple[Tensor, Tensor, int]:
    """Return the sums of the two losses of an image, and how many anchors learn in it."""
    boxes, classes = target["boxes"].float(), target["labels"] - 1
    anchors, objects, ignored = uniform_match(given.boxes, given.anchors, boxes)
    kinds = torch.zeros_like(given.logits)
    kinds[anchors, classes[objects]] = 1
    by_class = sigmoid_focal_loss(
        given.logits[~ignored], kinds[~ignored], ALPHA, GAMMA, reduction="sum"
    )
    by_box = generalized_box_iou_loss(given.boxes[anchors], boxes[objects], reduction="sum")
    return by_class, by_box, int(kinds.any(1).sum())
