"""YOLOF: "You Only Look One-level Feature", Chen et al. 2021. https://arxiv.org/abs/2103.09460."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import (
    box_convert,
    box_iou,
    clip_boxes_to_image,
    generalized_box_iou_loss,
    sigmoid_focal_loss,
)

from convgate.errors import InputError
from convgate.tasks.backbone import Backbone
from convgate.tasks.detect.base import DETECTORS, Sizes
from convgate.tasks.detect.single_stage import SingleStage, Target, strongest
from convgate.tasks.detect.yolof_parts import Decoder, DilatedEncoder

NEAREST = 4  # of the predictions, and as many of the anchors
MIN_ANCHOR_IOU = 0.15  # overlap of an anchor with its object, below which it does not learn
MAX_OTHER_IOU = (
    0.7  # overlap of an unmatched prediction with any object, above which it is left out
)
SIDES = (1, 2, 4, 8, 16)  # of the anchors in strides: 32 to 512 px at stride 32
SHIFT_PX = 32  # the farthest that a box's centre leaves its anchor's
ALPHA, GAMMA = 0.25, 2.0
CANDIDATES = 1000


class Shifting(GeneralizedRCNNTransform):  # type: ignore[misc]
    """The resizing of torchvision; half of the training images then move by some pixels.

    Each side moves by up to ``shift_px`` pixels of the resized image; what leaves it is lost,
    objects too, and what comes in is black.

    Source: arXiv 2103.09460; as in chensnathan/YOLOF, yolof/data/augmentation_impl.py and
        yolof/data/transform.py.
    """

    shift_px = 0

    def resize(self, image: Tensor, target: Target | None = None) -> tuple[Tensor, Target | None]:
        image, target = super().resize(image, target)
        if not (self.training and self.shift_px and target and float(torch.rand(())) < 0.5):
            return image, target
        far = self.shift_px
        across, down = torch.randint(-far, far + 1, (2,)).tolist()
        black = self.normalize(image.new_zeros(len(image), 1, 1))
        return shift(image, across, down, black), shift_objects(target, across, down, image)


def shift(image: Tensor, across: int, down: int, colour: Tensor) -> Tensor:
    """Move an image right and down, or left and up by less than 0.

    Shape: image (C, H, W), colour (C, 1, 1) -> (C, H, W).
    """
    height, width = image.shape[1:]
    across, down = max(-width, min(across, width)), max(-height, min(down, height))
    moved = colour.expand_as(image).clone()
    moved[:, max(down, 0) : height + min(down, 0), max(across, 0) : width + min(across, 0)] = image[
        :, max(-down, 0) : height - max(down, 0), max(-across, 0) : width - max(across, 0)
    ]
    return moved


def shift_objects(target: Target, across: int, down: int, image: Tensor) -> Target:
    """Move boxes with their image and leave out those that it lost."""
    step = target["boxes"].new_tensor([across, down, across, down])
    height, width = image.shape[1:]
    boxes = clip_boxes_to_image(target["boxes"] + step, (height, width))
    kept = (boxes[:, 2:] > boxes[:, :2]).all(1)
    return {"boxes": boxes[kept], "labels": target["labels"][kept]}


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
    learns = box_iou(anchors, boxes)[near, objects] >= MIN_ANCHOR_IOU
    ignored |= box_iou(predicted, boxes).amax(1) > MAX_OTHER_IOU
    ignored[near] = True
    ignored[near[learns]] = False
    return Matches(near[learns], objects[learns], ignored)


def _nearest(candidates: Tensor, boxes: Tensor) -> Tensor:
    a, b = (box_convert(x, "xyxy", "cxcywh") for x in (candidates, boxes))
    distances = torch.cdist(a, b, p=1)  # (A, G)
    return distances.topk(min(NEAREST, len(a)), dim=0, largest=False).indices


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

    Takes the backbone's deepest map. Own options:

    - shift_px: How far half of the resized training images move at most; 32 in YOLOF.
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
    far = SHIFT_PX / side[:, :2]
    shift = torch.maximum(torch.minimum(codes[:, :2], far), -far)
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
