"""Wide ResNets for 32 px images: "Wide Residual Networks", Zagoruyko and Komodakis 2016.

https://arxiv.org/abs/1605.07146
"""

from typing import Any

from timm.layers.drop import DropPath
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from convgate.models.staged import Blocks, Pooled, cifar_cfg, drop_path_rates, init_he

STEM_WIDTH = 16


class WideBlock(nn.Module):
    """Two 3x3 convolutions, each after its norm and activation, and a shortcut from the raw input.

        y = conv2(drop(relu(norm2(conv1(relu(norm1(x))))))) + shortcut(x)

    The stride is that of the second convolution, and every convolution has a bias: this is the
    form whose cost the tables of EAN print (arXiv 1605.07146 has the stride in the first).

    Shape: x (N, C, H, W) -> y (N, C', ceil(H / stride), ceil(W / stride)).
    Source: arXiv 1605.07146, Figure 1 (d); biases and shortcut as in weiaicunzai/pytorch-cifar100,
        models/wideresidual.py.

    Args:
        width_in: C.
        width: C'.
        stride: Of the second convolution and of the shortcut.
        dropout: Between the convolutions.
        drop_path: Probability that training skips the branch for a sample.
    """

    def __init__(
        self, width_in: int, width: int, stride: int, dropout: float = 0.0, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(width_in)
        self.act1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(width_in, width, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(width)
        self.act2 = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        changes = width_in != width or stride != 1
        self.shortcut = nn.Conv2d(width_in, width, 1, stride) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.act1(self.norm1(x)))
        y = self.conv2(self.drop(self.act2(self.norm2(y))))
        return self.drop_path(y) + self.shortcut(x)


class WideResNet(Pooled):
    """ResNet of 6n + 4 layers, k times as wide: a 3x3 stem and three stages of n blocks.

    Shape: x (N, in_chans, H, W) with H, W >= 1 -> (N, num_classes).
    Source: arXiv 1605.07146, Table 1.

    Args:
        depth: n, the blocks of a stage.
        widen: k; the stages are 16 k, 32 k and 64 k wide.
        block_drop_rate: Dropout inside the blocks.
    """

    STAGE = r"^layer(\d+)"

    def __init__(
        self,
        in_chans: int = 3,
        num_classes: int = 10,
        global_pool: str = "avg",
        *,
        depth: int = 4,
        widen: int = 10,
        block_drop_rate: float = 0.0,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_chans = in_chans
        widths = [STEM_WIDTH, *(STEM_WIDTH * widen * 2**i for i in range(3))]
        self.feature_info = [
            {"num_chs": widths[i + 1], "reduction": 2**i, "module": f"layer{i + 1}"}
            for i in range(3)
        ]
        self.stem = nn.Conv2d(in_chans, STEM_WIDTH, 3, padding=1)
        for i, rates in enumerate(drop_path_rates(drop_path_rate, [depth] * 3)):
            width_in, width, stride = widths[i], widths[i + 1], 2 if i else 1
            first = WideBlock(width_in, width, stride, block_drop_rate, rates[0])
            rest = [WideBlock(width, width, 1, block_drop_rate, rate) for rate in rates[1:]]
            self.add_module(f"layer{i + 1}", Blocks(first, *rest))
        self.norm: nn.Module = nn.BatchNorm2d(widths[-1])
        self.act: nn.Module = nn.ReLU(inplace=True)
        self.make_head(num_classes, global_pool, drop_rate)
        self.apply(init_he)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        return super().forward_head(self.act(self.norm(x)), pre_logits)

    def drop_head(self) -> None:
        super().drop_head()
        self.norm, self.act = nn.Identity(), nn.Identity()  # they fit the last stage alone


default_cfgs = generate_default_cfgs({"wrn28_10": cifar_cfg(pool_size=(8, 8), first_conv="stem")})


@register_model
def wrn28_10(pretrained: bool = False, **kwargs: Any) -> WideResNet:
    """WRN-28-10: 36.55 M parameters with 100 classes."""
    feature_cfg = {"out_indices": (0, 1, 2)}
    return build_model_with_cfg(
        WideResNet, "wrn28_10", pretrained, feature_cfg=feature_cfg, **kwargs
    )
