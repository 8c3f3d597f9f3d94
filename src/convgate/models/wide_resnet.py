"""Wide ResNets for 32 px images: "Wide Residual Networks", Zagoruyko and Komodakis 2016.

https://arxiv.org/abs/1605.07146
"""

from typing import Any

from timm.layers.drop import DropPath
from timm.models import generate_default_cfgs
from torch import Tensor, nn

from convgate.errors import unknown
from convgate.models.entries import build, cifar_cfg, register_networks
from convgate.models.staged import Blocks, Pooled, drop_path_rates, init_he

STEM_WIDTH = 16
FORMS = ("paper", "late")


class WideBlock(nn.Module):
    """Two 3x3 convolutions, each after its norm and activation, and a shortcut from the raw input.

        y = conv2(drop(relu(norm2(conv1(relu(norm1(x))))))) + shortcut(x)

    The "paper" form has no biases and its stride in the first convolution, and a shortcut that
    changes the width starts behind the first activation. The "late" form has biases, its stride in
    the second convolution and every shortcut from x: the tables of EAN print its cost.

    Shape: x (N, C, H, W) -> y (N, C', ceil(H / stride), ceil(W / stride)).
    Source: arXiv 1605.07146, Figure 1 (d); "paper" as in szagoruyko/wide-residual-networks,
        "late" as in weiaicunzai/pytorch-cifar100, models/wideresidual.py.

    Args:
        width_in: C.
        width: C'.
        stride: Of one 3x3 convolution and of the shortcut.
        form: "paper" or "late".
        dropout: Between the convolutions.
        drop_path: Probability that training skips the branch for a sample.
    """

    def __init__(
        self,
        width_in: int,
        width: int,
        stride: int,
        form: str = "late",
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        late = form == "late"
        first, second = (1, stride) if late else (stride, 1)
        self.norm1 = nn.BatchNorm2d(width_in)
        self.act1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(width_in, width, 3, first, padding=1, bias=late)
        self.norm2 = nn.BatchNorm2d(width)
        self.act2 = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(width, width, 3, second, padding=1, bias=late)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        changes = width_in != width or stride != 1
        self.shortcut: nn.Module = nn.Identity()
        if changes:
            self.shortcut = nn.Conv2d(width_in, width, 1, stride, bias=late)
        self.shares_activation = width_in != width and not late

    def forward(self, x: Tensor) -> Tensor:
        activated = self.act1(self.norm1(x))
        y = self.conv2(self.drop(self.act2(self.norm2(self.conv1(activated)))))
        return self.drop_path(y) + self.shortcut(activated if self.shares_activation else x)


class WideResNet(Pooled):
    """ResNet of 6n + 4 layers, k times as wide: a 3x3 stem and three stages of n blocks.

    Shape: x (N, in_chans, H, W) with H, W >= 1 -> (N, num_classes).
    Source: arXiv 1605.07146, Table 1.

    Args:
        depth: n, the blocks of a stage.
        widen: k; the stages are 16 k, 32 k and 64 k wide.
        form: That of the blocks: "paper", or "late" as in EAN's tables.
        block_drop_rate: Dropout inside the blocks.

    Raises:
        InputError: for an unknown form.
    """

    STAGE = r"^layer(\d+)"

    def __init__(  # noqa: PLR0913  each is an option of timm's or of the paper
        self,
        in_chans: int = 3,
        num_classes: int = 10,
        global_pool: str = "avg",
        *,
        depth: int = 4,
        widen: int = 10,
        form: str = "late",
        block_drop_rate: float = 0.0,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        if form not in FORMS:
            raise unknown("form", form, FORMS)
        self.in_chans = in_chans
        widths = [STEM_WIDTH, *(STEM_WIDTH * widen * 2**i for i in range(3))]
        self.feature_info = [
            {"num_chs": widths[i + 1], "reduction": 2**i, "module": f"layer{i + 1}"}
            for i in range(3)
        ]
        self.stem = nn.Conv2d(in_chans, STEM_WIDTH, 3, padding=1, bias=form == "late")
        for i, rates in enumerate(drop_path_rates(drop_path_rate, [depth] * 3)):
            width_in, width, stride = widths[i], widths[i + 1], 2 if i else 1
            first = WideBlock(width_in, width, stride, form, block_drop_rate, rates[0])
            rest = [WideBlock(width, width, 1, form, block_drop_rate, rate) for rate in rates[1:]]
            self.add_module(f"layer{i + 1}", Blocks(first, *rest))
        self.norm: nn.Module = nn.BatchNorm2d(widths[-1])
        self.act: nn.Module = nn.ReLU(inplace=True)
        self.make_head(num_classes, global_pool, drop_rate)
        self.apply(init_he)

    def forward_stem(self, x: Tensor) -> Tensor:
        return self.stem(x)

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.layer1(self.forward_stem(x))  # type: ignore[operator]
        return self.layer3(self.layer2(x))  # type: ignore[operator]

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.drop(self.global_pool(self.act(self.norm(x))))
        return x if pre_logits else self.fc(x)

    def drop_head(self) -> None:
        super().drop_head()
        self.norm, self.act = nn.Identity(), nn.Identity()  # they fit the last stage alone


PRESETS: dict[str, dict[str, Any]] = {  # n blocks a stage and k, by the layers 6n + 4 and k
    f"wrn{layers}_{widen}": {"depth": (layers - 4) // 6, "widen": widen, "form": "paper"}
    for layers, widths in {16: (8, 10), 22: (8, 10), 28: (10, 12), 40: (1, 2, 4, 8)}.items()
    for widen in widths
}
PRESETS["wrn28_10"]["form"] = "late"

default_cfgs = generate_default_cfgs(
    dict.fromkeys(PRESETS, cifar_cfg(pool_size=(8, 8), first_conv="stem"))
)


def _create(variant: str, pretrained: bool, **kwargs: Any) -> WideResNet:
    feature_cfg = {"out_indices": (0, 1, 2)}
    options = {**PRESETS[variant], **kwargs}
    return build(WideResNet, variant, pretrained, feature_cfg=feature_cfg, **options)


register_networks(
    __name__,
    _create,
    wrn16_8="WRN-16-8: 11.0 M parameters.",
    wrn16_10="WRN-16-10: 17.1 M parameters.",
    wrn22_8="WRN-22-8: 17.2 M parameters.",
    wrn22_10="WRN-22-10: 26.8 M parameters.",
    wrn28_10="WRN-28-10 as EAN's tables count it: 36.55 M parameters with 100 classes.",
    wrn28_12="WRN-28-12: 52.5 M parameters.",
    wrn40_1="WRN-40-1: 0.6 M parameters.",
    wrn40_2="WRN-40-2: 2.2 M parameters.",
    wrn40_4="WRN-40-4: 8.9 M parameters.",
    wrn40_8="WRN-40-8: 35.7 M parameters.",
)
