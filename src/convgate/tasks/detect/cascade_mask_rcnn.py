"""Cascade Mask R-CNN: "Cascade R-CNN: Delving into High Quality Object Detection", Cai 2018.

https://arxiv.org/abs/1712.00726
"""

# ruff: noqa: PLR0913 - a detector takes every size
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import MultiScaleRoIAlign

from convgate.errors import InputError
from convgate.tasks.backbone import Backbone
from convgate.tasks.detect.base import DETECTORS, Sizes
from convgate.tasks.detect.cascade_heads import CascadeRoIHeads
from convgate.tasks.detect.faster_rcnn import DRAWN, WIDTH, rcnn_parts

HIDDEN = 1024
BOX_PX, MASK_PX = 7, 14
CODING = (10.0, 10.0, 5.0, 5.0)  # 1 / deviation of the first stage; the i-th has i times that
POSITIVE = 0.25  # share of objects among the proposals drawn


class AgnosticPredictor(FastRCNNPredictor):  # type: ignore[misc]
    """Class logits, and one box for all classes."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(width, classes)
        self.bbox_pred = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits, deltas = super().forward(x)
        return logits, deltas.repeat(1, logits.shape[1])


@DETECTORS.register("cascade_mask_rcnn")
def cascade_mask_rcnn(
    backbone: Backbone,
    *,
    num_classes: int,
    min_size: Sizes = 800,
    max_size: int = 1333,
    score_threshold: float = 0.05,
    nms_threshold: float = 0.5,
    max_detections: int = 100,
    thresholds: tuple[float, ...] = (0.5, 0.6, 0.7),
    box_loss: str = "giou",
    class_agnostic: bool = False,
    head_norms: bool = True,
    pyramid_width: int = WIDTH,
    rois_per_image: int = DRAWN,
) -> nn.Module:
    """Mask R-CNN with a row of heads, each trained on better boxes than the one before it.

    A stage has four 3x3 convolutions and one linear layer for boxes, four 3x3 for masks; the loss
    weights of the stages are 1, 1/2, 1/4, their box deviations (0.1, 0.1, 0.2, 0.2) over 1, 2, 3.

    Source: arXiv 1712.00726, section 3; heads and losses as in the configurations of
        facebookresearch/ConvNeXt, object_detection.

    Takes the backbone's four deepest maps. Own options:

    - thresholds: From which overlap on a box is an object's, stage by stage.
    - box_loss: "giou" or "smooth_l1".
    - class_agnostic: One box for all classes in place of one for each.
    - head_norms: Batch norms in the box heads.
    - pyramid_width: Channels of the feature pyramid and of the heads' convolutions.
    - rois_per_image: Proposals of an image on which each stage is trained.

    Raises:
        InputError: for no stage, or another box loss.
    """
    if not thresholds:
        raise InputError("cascade_mask_rcnn: thresholds=() leaves no stage; give one for each")
    shared = rcnn_parts(backbone, num_classes, min_size, max_size, pyramid_width)
    classes = shared.pop("num_classes")
    predictor = AgnosticPredictor if class_agnostic else FastRCNNPredictor
    stages = [
        RoIHeads(
            _align(BOX_PX),
            _box_head(pyramid_width, head_norms),
            predictor(HIDDEN, classes),
            threshold,
            threshold,
            rois_per_image,
            POSITIVE,
            tuple(i * weight for weight in CODING),
            score_threshold,
            nms_threshold,
            max_detections,
            _align(MASK_PX),
            MaskRCNNHeads(pyramid_width, (pyramid_width,) * 4, 1),
            MaskRCNNPredictor(pyramid_width, pyramid_width, classes),
        )
        for i, threshold in enumerate(thresholds, 1)
    ]
    first = stages[0]
    model = FasterRCNN(**shared, box_head=first.box_head, box_predictor=first.box_predictor)
    weights = [0.5**i for i in range(len(stages))]
    model.roi_heads = CascadeRoIHeads(stages, weights, box_loss=box_loss)
    return model


def _align(side: int) -> MultiScaleRoIAlign:
    return MultiScaleRoIAlign(["0", "1", "2", "3"], output_size=side, sampling_ratio=2)


def _box_head(width: int, norms: bool) -> nn.Module:
    norm = nn.BatchNorm2d if norms else None
    return FastRCNNConvFCHead((width, BOX_PX, BOX_PX), [width] * 4, [HIDDEN], norm_layer=norm)
