"""Faster R-CNN: "Faster R-CNN: Towards Real-Time Object Detection", Ren et al. 2015.

https://arxiv.org/abs/1506.01497
"""

# ruff: noqa: PLR0913 - a detector takes every size
from collections import OrderedDict
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, LastLevelMaxPool

from convgate.tasks.backbone import Backbone
from convgate.tasks.detect.base import DETECTORS, Sizes

WIDTH = 256  # channels of the pyramid
LEVELS = 4  # of the backbone; the pyramid adds one
CELL = 8  # side of the smallest anchor in strides of its map: 32 px at stride 4
RATIOS = (0.5, 1.0, 2.0)
DRAWN = 512  # proposals of a training image


class Pyramid(nn.Module):
    """Maps of one width at the backbone's strides, and coarser ones from ``extra``.

    Shape: x (N, 3, H, W) -> {"0": (N, width, H / s0, W / s0), ...}, with s0 the first stride.
    Source: arXiv 1612.03144, section 3; torchvision.ops.FeaturePyramidNetwork.
    """

    def __init__(self, backbone: Backbone, extra: ExtraFPNBlock, width: int = WIDTH) -> None:
        super().__init__()
        self.out_channels = width
        self.bottom = backbone
        self.fpn = FeaturePyramidNetwork(list(backbone.channels), width, extra_blocks=extra)

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        return self.fpn(self.bottom(x))


@DETECTORS.register("faster_rcnn")
def faster_rcnn(
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
    """The Faster R-CNN of torchvision on a feature pyramid, two linear layers as head.

    Source: arXiv 1506.01497 and 1612.03144; torchvision.models.detection.FasterRCNN.

    Takes the backbone's four deepest maps. Own options:

    - pyramid_width: Channels of the feature pyramid.
    - rois_per_image: Proposals of an image on which the heads are trained.
    """
    shared = rcnn_parts(backbone, num_classes, min_size, max_size, pyramid_width)
    return FasterRCNN(
        **shared,
        box_batch_size_per_image=rois_per_image,
        box_score_thresh=score_threshold,
        box_nms_thresh=nms_threshold,
        box_detections_per_img=max_detections,
    )


def rcnn_parts(
    backbone: Backbone, num_classes: int, min_size: Sizes, max_size: int, width: int
) -> dict[str, Any]:
    """Return what torchvision's R-CNNs need besides their heads."""
    strides = backbone.last(LEVELS).strides
    sizes = tuple((CELL * stride,) for stride in (*strides, 2 * strides[-1]))
    return {
        "backbone": Pyramid(backbone, LastLevelMaxPool(), width),
        "num_classes": num_classes + 1,  # theirs counts the background
        "min_size": min_size,
        "max_size": max_size,
        "image_mean": backbone.mean,
        "image_std": backbone.std,
        "rpn_anchor_generator": AnchorGenerator(sizes, (RATIOS,) * len(sizes)),
    }
