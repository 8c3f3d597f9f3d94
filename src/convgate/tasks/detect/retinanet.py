"""RetinaNet: "Focal Loss for Dense Object Detection", Lin et al. 2017.

https://arxiv.org/abs/1708.02002
"""

from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from convgate.tasks.backbone import Backbone
from convgate.tasks.detect.base import DETECTORS, Sizes
from convgate.tasks.detect.faster_rcnn import RATIOS, WIDTH, Pyramid

Target = dict[str, Tensor]

LEVELS = 3  # of the backbone; the pyramid adds two
CELL = 4  # side of the smallest anchor in strides of its map: 32 px at stride 8


class LabelsFromOne(RetinaNet):  # type: ignore[misc]
    """torchvision's RetinaNet, which has no background, for labels from 1 to num_classes."""

    def forward(
        self, images: list[Tensor], targets: list[Target] | None = None
    ) -> dict[str, Tensor] | list[Target]:
        if targets is not None:
            targets = [{**target, "labels": target["labels"] - 1} for target in targets]
        given = super().forward(images, targets)
        return given if self.training else [{**d, "labels": d["labels"] + 1} for d in given]


@DETECTORS.register("retinanet")
def retinanet(
    backbone: Backbone,
    *,
    num_classes: int,
    min_size: Sizes = 800,
    max_size: int = 1333,
    score_threshold: float = 0.05,
    nms_threshold: float = 0.5,
    max_detections: int = 300,
    pyramid_width: int = WIDTH,
) -> nn.Module:
    """The RetinaNet of torchvision: nine anchors a cell on five maps, focal loss.

    Source: arXiv 1708.02002; torchvision.models.detection.RetinaNet, whose two coarsest maps come
        from the pyramid's last (the paper's from the backbone's last).

    Takes the backbone's three deepest maps. Own options:

    - pyramid_width: Channels of the feature pyramid and of the heads.
    """
    strides = backbone.last(LEVELS).strides
    sides = [CELL * stride for stride in (*strides, 2 * strides[-1], 4 * strides[-1])]
    sizes = tuple(tuple(int(side * 2 ** (third / 3)) for third in range(3)) for side in sides)
    return LabelsFromOne(
        Pyramid(backbone, LastLevelP6P7(pyramid_width, pyramid_width), pyramid_width),
        num_classes,
        min_size=min_size,
        max_size=max_size,
        image_mean=backbone.mean,
        image_std=backbone.std,
        anchor_generator=AnchorGenerator(sizes, (RATIOS,) * len(sizes)),
        score_thresh=score_threshold,
        nms_thresh=nms_threshold,
        detections_per_img=max_detections,
    )
