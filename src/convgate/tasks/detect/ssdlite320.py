"""SSDLite: "MobileNetV2: Inverted Residuals and Linear Bottlenecks", Sandler et al. 2018.

https://arxiv.org/abs/1801.04381
"""

import math
from collections import OrderedDict
from functools import partial

from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead
from torchvision.ops.misc import Conv2dNormActivation

from convgate.gates.base import check_batch
from convgate.tasks.backbone import Backbone
from convgate.tasks.detect.base import DETECTORS

LEVELS = 2
EXTRA_WIDTHS = (512, 256, 256, 128)
norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)


class ExtraMaps(nn.Module):
    """The backbone's last two maps and four coarser ones, each half as large.

    Shape: x (N, 3, H, W) -> six maps, the last four of 512, 256, 256 and 128 channels.
    Source: arXiv 1801.04381, section 6.2; widths, norms (eps 1e-3, momentum 0.03) and initial
        values (deviation 0.03) as in torchvision.models.detection.ssdlite.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.bottom = backbone
        widths = (backbone.channels[-1], *EXTRA_WIDTHS)
        self.extra = nn.ModuleList(map(_halve, widths, widths[1:]))
        self.out_channels = (*backbone.channels, *EXTRA_WIDTHS)
        for module in self.extra.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.03)

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        maps = self.bottom(x)
        y = next(reversed(maps.values()))
        if self.training:
            halved = [math.ceil(side / 2 ** len(self.extra)) for side in y.shape[2:]]
            check_batch("ssdlite320", len(y) * math.prod(halved))
        for block in self.extra:
            y = block(y)
            maps[str(len(maps))] = y
        return maps


@DETECTORS.register("ssdlite320")
def ssdlite320(
    backbone: Backbone,
    *,
    num_classes: int,
    image_px: int = 320,
    score_threshold: float = 0.001,
    nms_threshold: float = 0.55,
    max_detections: int = 300,
) -> nn.Module:
    """SSD with depthwise-separable layers: six maps, six default boxes a cell.

    Source: arXiv 1512.02325 and 1801.04381, section 6.2; torchvision.models.detection.ssdlite,
        whose first map is inside a block of MobileNetV3 (here both are the ends of stages).

    Takes the backbone's two deepest maps. Own options:

    - image_px: Side of the square that images are resized to.
    """
    maps = ExtraMaps(backbone.last(LEVELS))
    boxes = DefaultBoxGenerator([[2, 3]] * len(maps.out_channels), min_ratio=0.2, max_ratio=0.95)
    per_cell = boxes.num_anchors_per_location()
    background = 1
    head = SSDLiteHead(list(maps.out_channels), per_cell, num_classes + background, norm)
    return SSD(
        maps,
        boxes,
        (image_px, image_px),
        num_classes + background,
        image_mean=backbone.mean,
        image_std=backbone.std,
        head=head,
        score_thresh=score_threshold,
        nms_thresh=nms_threshold,
        detections_per_img=max_detections,
        topk_candidates=300,
    )


def _halve(width_in: int, width: int) -> nn.Sequential:
    layer = partial(Conv2dNormActivation, norm_layer=norm, activation_layer=nn.ReLU6)
    hidden = width // 2
    return nn.Sequential(
        layer(width_in, hidden, kernel_size=1),
        layer(hidden, hidden, kernel_size=3, stride=2, groups=hidden),
        layer(hidden, width, kernel_size=1),
    )
