"""MobileNeXt: "Rethinking Bottleneck Structure for Efficient Mobile Network Design", Zhou 2020.

https://arxiv.org/abs/2007.02269
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from timm.layers import make_divisible  # type: ignore[attr-defined]
from timm.layers.drop import DropPath
from timm.models import generate_default_cfgs, register_model
from torch import Tensor, nn

from convgate.models.entries import build, cifar_cfg, imagenet_cfg
from convgate.models.staged import Blocks, Pooled, drop_path_rates

Row = tuple[int, int, int, int]

ROWS: tuple[Row, ...] = (  # reduction t, width, blocks, stride of the first
    (2, 96, 1, 2),
    (6, 144, 1, 1),
    (6, 192, 3, 2),
    (6, 288, 3, 2),
    (6, 384, 4, 1),
    (6, 576, 4, 2),
    (6, 960, 3, 1),
    (6, 1280, 1, 1),
)
STEM_WIDTH = 32


class Sandglass(nn.Module):
    """Two linear 1x1 convolutions between two depthwise ones: wide, narrow, wide.

        y = bn4(dw2(relu6(bn3(W2 bn2(W1 relu6(bn1(dw1(x)))))))) + x

    A block with "last" has no first depthwise convolution, one with "none" has neither; parts are
    numbered by their place, so that conv4 and bn4 are in blocks with both alone.

    Shape: x (N, C, H, W) -> y (N, C', ceil(H / stride), ceil(W / stride)).
    Source: arXiv 2007.02269, Figure 3 and Table 2; the kinds of blocks as in
        zhoudaquan/rethinking_bottleneck_design, mobilenext/codebase/models/mnext.py.

    Args:
        width_in: C.
        width: C'.
        hidden: Channels between the 1x1 convolutions.
        stride: Of the last depthwise convolution.
        depthwise: "both", "last" or "none".
        identity: Whether x is added.
        drop_path: Probability that training skips the branch for a sample, where x is added.
    """

    def __init__(
        self,
        width_in: int,
        width: int,
        hidden: int,
        *,
        stride: int = 1,
        depthwise: str = "both",
        identity: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        layers = [(width_in, hidden, 1, 1, False), (hidden, width, 1, 1, True)]
        if depthwise == "both":
            layers.insert(0, (width_in, width_in, 3, 1, True))
        if depthwise != "none":
            layers.append((width, width, 3, stride, False))
        branch: OrderedDict[str, nn.Module] = OrderedDict()
        for place, (c_in, c, side, step, activated) in enumerate(layers, 1):
            groups = c if side == 3 else 1
            branch[f"conv{place}"] = nn.Conv2d(
                c_in, c, side, step, side // 2, groups=groups, bias=False
            )
            branch[f"bn{place}"] = nn.BatchNorm2d(c)
            if activated:
                branch[f"act{place}"] = nn.ReLU6(inplace=True)
        self.branch = nn.Sequential(branch)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.identity = identity

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch(x)
        return x + self.drop_path(y) if self.identity else y


class MobileNeXt(Pooled):
    """A 3x3 stem and eight rows of sandglass blocks.

    A block that changes the width has one depthwise convolution with a stride and none without;
    the first row, and rows of a single block with stride 1, have both and no shortcut.

    Shape: x (N, in_chans, H, W) with H, W >= 1 -> (N, num_classes).
    Source: arXiv 2007.02269, Table 2; the last two rows, hidden widths and dropout as in
        zhoudaquan/rethinking_bottleneck_design, mobilenext/codebase/models/mnext.py.

    Args:
        rows: Reduction, width, blocks and first stride of every row.
    """

    STEM = r"^conv_stem|^bn1"

    def __init__(
        self,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        *,
        rows: Sequence[Row] = ROWS,
        drop_rate: float = 0.2,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_chans = in_chans
        self.conv_stem = nn.Conv2d(in_chans, STEM_WIDTH, 3, 2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM_WIDTH)
        self.act1 = nn.ReLU6(inplace=True)
        self.stages = nn.Sequential()
        self.feature_info = []
        width_in, reduction = STEM_WIDTH, 2
        rates = drop_path_rates(drop_path_rate, [blocks for _, _, blocks, _ in rows])
        for i, row in enumerate(rows):
            self.stages.append(_stage(width_in, row, rates[i]))
            width_in, reduction = row[1], reduction * row[3]
            self.feature_info.append(
                {"num_chs": width_in, "reduction": reduction, "module": f"stages.{i}"}
            )
        self.make_head(num_classes, global_pool, drop_rate)
        self.apply(_init_weights)

    def forward_stem(self, x: Tensor) -> Tensor:
        return self.act1(self.bn1(self.conv_stem(x)))


def _stage(width_in: int, row: Row, rates: Sequence[float]) -> Blocks:
    t, width, count, stride = row
    single = t == 2 or (count == 1 and stride == 1)
    depthwise = "both" if single else "last" if stride > 1 else "none"
    hidden = _hidden(width_in, width, t)
    first = Sandglass(width_in, width, hidden, stride=stride, depthwise=depthwise)
    hidden = _hidden(width, width, t)
    return Blocks(
        first, *(Sandglass(width, width, hidden, identity=True, drop_path=r) for r in rates[1:])
    )


def _hidden(width_in: int, width: int, reduction: int) -> int:
    """Divide the input's width; below a sixth of the output's, take a multiple of 16 near that.

    Near is the nearest one, or the next where that would be less than 0.9 of it.
    """
    hidden = width_in // reduction
    if hidden >= width / 6:
        return hidden
    return make_divisible(math.ceil(width / 6), 16)  # type: ignore[no-untyped-call]


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)


_CFG = imagenet_cfg(
    first_conv="conv_stem",
    classifier="fc",
    origin_url="https://github.com/zhoudaquan/rethinking_bottleneck_design",
)

default_cfgs = generate_default_cfgs(
    {"mobilenext": _CFG, "mobilenext_cifar": cifar_cfg(pool_size=(1, 1), first_conv="conv_stem")}
)


def _create(variant: str, pretrained: bool, **kwargs: Any) -> MobileNeXt:
    feature_cfg = {"out_indices": (0, 2, 3, 5, 7), "flatten_sequential": True}
    return build(MobileNeXt, variant, pretrained, feature_cfg=feature_cfg, **kwargs)


@register_model
def mobilenext(pretrained: bool = False, **kwargs: Any) -> MobileNeXt:
    """MobileNeXt: 3,535,416 parameters."""
    return _create("mobilenext", pretrained, **kwargs)


@register_model
def mobilenext_cifar(pretrained: bool = False, **kwargs: Any) -> MobileNeXt:
    """MobileNeXt for 32 px, with its strides as they are: 2.38 M parameters with 100 classes."""
    kwargs.setdefault("num_classes", 10)
    return _create("mobilenext_cifar", pretrained, **kwargs)
