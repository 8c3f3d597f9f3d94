"""Mask R-CNN: "Mask R-CNN", He et al. 2017. https://arxiv.org/abs/1703.06870."""

# ruff: noqa: PLR0913 - a detector takes every size
from torch import nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

from convgate.tasks.backbone import Backbone
from convgate.tasks.detect.base import DETECTORS, Sizes
from convgate.tasks.detect.faster_rcnn import DRAWN, WIDTH, rcnn_parts

MASK_LAYERS = 4


@DETECTORS.register("mask_rcnn")
def mask_rcnn(
    backbone: Backbone,
    *,
    num_classes: int,
    min_size: Sizes = 800,
    max_size: int = 1333,
    score_threshold: float = 0.05,
    nms_threshold: float = 0.5,
    max_detections: int = 100,
    pyramid_width: int = WIDTH,
    rois_per_image: int = DRAWN,
) -> nn.Module:
    """The Mask R-CNN of torchvision: two linear layers for boxes, four 3x3 convolutions for masks.

    Source: arXiv 1703.06870; torchvision.models.detection.MaskRCNN.

    Takes the backbone's four deepest maps. Own options:

    - pyramid_width: Channels of the feature pyramid and of the mask head.
    - rois_per_image: Proposals of an image on which the heads are trained.
    """
    shared = rcnn_parts(backbone, num_classes, min_size, max_size, pyramid_width)
    model = MaskRCNN(
        **shared,
        mask_head=MaskRCNNHeads(pyramid_width, (pyramid_width,) * MASK_LAYERS, 1),
        box_batch_size_per_image=rois_per_image,
        box_score_thresh=score_threshold,
        box_nms_thresh=nms_threshold,
        box_detections_per_img=max_detections,
    )
    # the constructor takes a predictor only together with the one for boxes
    model.roi_heads.mask_predictor = MaskRCNNPredictor(
        pyramid_width, pyramid_width, shared["num_classes"]
    )
    return model
