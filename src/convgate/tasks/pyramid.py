"""A backbone under torchvision's feature pyramid: "Feature Pyramid Networks", Lin et al. 2017.

https://arxiv.org/abs/1612.03144
"""

from collections import OrderedDict

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

from convgate.tasks.backbone import Backbone

WIDTH = 256


class Pyramid(nn.Module):
    """Maps of one width at the backbone's strides, and coarser ones from ``extra``.

    Shape: x (N, 3, H, W) -> {"0": (N, width, H / s0, W / s0), ...}, with s0 the first stride.
    Source: arXiv 1612.03144, section 3; torchvision.ops.FeaturePyramidNetwork.

    Args:
        backbone: Gives the maps.
        extra: Makes the coarser maps.
        width: Channels of every map.
    """

    def __init__(self, backbone: Backbone, extra: ExtraFPNBlock, width: int = WIDTH) -> None:
        super().__init__()
        self.out_channels = width
        self.bottom = backbone
        self.fpn = FeaturePyramidNetwork(list(backbone.channels), width, extra_blocks=extra)

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        return self.fpn(self.bottom(x))
