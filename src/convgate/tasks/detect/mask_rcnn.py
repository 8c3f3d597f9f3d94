"""Mask R-CNN: "Mask R-CNN", He et al. 2017. https://arxiv.org/abs/1703.06870."""

from torch import nn
from torchvision.models.detection import MaskRCNN

from convgate.tasks.backbone import Backbone
from convgate.tasks.detect.base import DETECTORS, Sizes
from convgate.tasks.detect.faster_rcnn import rcnn_parts


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
) -> nn.Module:
    """The Mask R-CNN of torchvision: two linear layers for boxes, four 3x3 convolutions for masks.

    Source: arXiv 1703.06870; torchvision.models.detection.MaskRCNN.

    Args:
        backbone: Its four deepest maps are taken.
        num_classes: Classes of objects.
        min_size: Shorter side of the resized image in pixels; of several, training draws one.
        max_size: Longer side at most.
        score_threshold: Detections at or below it are dropped.
        nms_threshold: Of two boxes of a class that overlap by more, the weaker is dropped.
        max_detections: Of one image.
    """
    shared = rcnn_parts(backbone, num_classes, min_size, max_size)
    return MaskRCNN(
        **shared,
        box_score_thresh=score_threshold,
        box_nms_thresh=nms_threshold,
        box_detections_per_img=max_detections,
    )
