"""ShuffleNetV2 for 32 px images: "Practical Guidelines for Efficient CNN Architecture Design".

Ma et al. 2018, https://arxiv.org/abs/1807.11164. The units are torchvision's, configured.
"""

from typing import Any

import torch
from timm.models import generate_default_cfgs, register_model
from torch import Tensor, nn
from torchvision.models.shufflenetv2 import InvertedResidual

from convgate.models.entries import build, cifar_cfg
from convgate.models.staged import Blocks, Pooled, init_he

STEM_WIDTH = 24
LAST_WIDTH = 1024


def shuffle_unit(width_in: int, width: int, stride: int) -> InvertedResidual:
    """Return torchvision's unit with biases; where it strides, its first 1x1 keeps the width.

    Shape: x (N, C, H, W) -> y (N, C', ceil(H / stride), ceil(W / stride)).
    Source: arXiv 1807.11164, Figure 3 (c, d); biases and widths as in
        weiaicunzai/pytorch-cifar100, models/shufflenetv2.py.
    """
    unit = InvertedResidual(width_in, width, stride)
    if stride > 1:
        conv, norm = nn.Conv2d(width_in, width_in, 1), nn.BatchNorm2d(width_in)
        depthwise = nn.Conv2d(width_in, width_in, 3, stride, padding=1, groups=width_in)
        changed = [conv, norm, nn.ReLU(inplace=True), depthwise, nn.BatchNorm2d(width_in)]
        pointwise = nn.Conv2d(width_in, width // 2, 1)
        unit.branch2 = nn.Sequential(*changed, pointwise, *unit.branch2[6:])
    for module in unit.modules():
        if isinstance(module, nn.Conv2d):
            module.bias = nn.Parameter(torch.zeros(module.out_channels))
    return unit


class ShuffleNetCifar(Pooled):
    """A 3x3 stem without pooling, three stages of units, and a last 1x1 convolution.

    Shape: x (N, in_chans, H, W) with H, W >= 1 -> (N, num_classes).
    Source: arXiv 1807.11164, Table 5 (1x); the stem as in weiaicunzai/pytorch-cifar100,
        models/shufflenetv2.py, with the paper's activation.

    Args:
        depths: Units per stage.
        widths: Channels per stage.
    """

    STAGE = r"^(?:stage|conv)(\d+)"

    def __init__(
        self,
        in_chans: int = 3,
        num_classes: int = 10,
        global_pool: str = "avg",
        *,
        depths: tuple[int, int, int] = (4, 8, 4),
        widths: tuple[int, int, int] = (116, 232, 464),
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_chans = in_chans
        self.feature_info = []
        self.stem = _convolve(in_chans, STEM_WIDTH, 3)
        width_in = STEM_WIDTH
        for i, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            rest = [shuffle_unit(width, width, 1) for _ in range(depth - 1)]
            self._add(
                f"stage{i + 2}", Blocks(shuffle_unit(width_in, width, 2), *rest), width, i + 1
            )
            width_in = width
        self._add("conv5", _convolve(width_in, LAST_WIDTH, 1), LAST_WIDTH, len(widths))
        self.make_head(num_classes, global_pool, drop_rate)
        self.apply(init_he)

    def forward_stem(self, x: Tensor) -> Tensor:
        return self.stem(x)

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.stage2(self.forward_stem(x))  # type: ignore[operator]
        return self.conv5(self.stage4(self.stage3(x)))  # type: ignore[operator]

    def _add(self, name: str, stage: nn.Module, width: int, halvings: int) -> None:
        self.add_module(name, stage)
        self.feature_info.append({"num_chs": width, "reduction": 2**halvings, "module": name})


def _convolve(width_in: int, width: int, side: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width_in, width, side, padding=side // 2),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


default_cfgs = generate_default_cfgs(
    {"shufflenet_v2_cifar": cifar_cfg(pool_size=(4, 4), first_conv="stem.0")}
)


@register_model
def shufflenet_v2_cifar(pretrained: bool = False, **kwargs: Any) -> ShuffleNetCifar:
    """ShuffleNetV2 1x for CIFAR: 1.36 M parameters with 100 classes."""
    return build(
        ShuffleNetCifar,
        "shufflenet_v2_cifar",
        pretrained,
        feature_cfg={"out_indices": (0, 1, 2, 3)},
        **kwargs,
    )
