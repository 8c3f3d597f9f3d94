"""HorNet: "Efficient High-Order Spatial Interactions with Recursive Gated Convolutions", 2022.

Rao et al., https://arxiv.org/abs/2207.14284. The trunk is ConvNeXt's.
"""

from collections.abc import Sequence
from typing import Any

from timm.models import generate_default_cfgs

from convgate.models.entries import build, register_networks
from convgate.models.hornet_block import HorNetBlock
from convgate.models.staged import Blocks, drop_path_rates
from convgate.models.trunk import FEATURE_CFG, Trunk, trunk_cfg

ORDERS = (2, 3, 4, 5)
GLOBAL_SIDES = (0, 0, 14, 7)  # the maps of the last two stages at 224 px


class HorNet(Trunk):
    """Four stages of `HorNetBlock` between ConvNeXt's stem, downsampling and head.

    Shape: x (N, in_chans, H, W) with H, W >= 32 -> (N, num_classes).
    Source: arXiv 2207.14284, section 3.3; orders, sides and depths as in raoyongming/HorNet,
        hornet.py.

    Args:
        depths: Blocks per stage.
        dims: C per stage.
        sides: Per stage, the side of the global-local filter, 0 for the 7x7 convolution.
    """

    def __init__(
        self,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        *,
        depths: Sequence[int] = (2, 3, 18, 2),
        dims: Sequence[int] = (64, 128, 256, 512),
        sides: Sequence[int] = (0, 0, 0, 0),
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        rates = drop_path_rates(drop_path_rate, depths)
        stages = [
            Blocks(*(HorNetBlock(width, order, side, rate) for rate in stage))
            for width, order, side, stage in zip(dims, ORDERS, sides, rates, strict=True)
        ]
        super().__init__(stages, dims, in_chans, num_classes, global_pool, drop_rate=drop_rate)


PRESETS: dict[str, dict[str, Sequence[int]]] = {
    "hornet_tiny": {},
    "hornet_small": {"dims": (96, 192, 384, 768)},
    "hornet_base": {"dims": (128, 256, 512, 1024)},
}
PRESETS |= {f"{name}_gf": {**preset, "sides": GLOBAL_SIDES} for name, preset in PRESETS.items()}

default_cfgs = generate_default_cfgs(
    dict.fromkeys(PRESETS, trunk_cfg(origin_url="https://github.com/raoyongming/HorNet"))
)


def _create(variant: str, pretrained: bool, **kwargs: Any) -> HorNet:
    return build(
        HorNet, variant, pretrained, feature_cfg=dict(FEATURE_CFG), **{**PRESETS[variant], **kwargs}
    )


register_networks(
    __name__,
    _create,
    hornet_tiny="HorNet-T with 7x7 convolutions: 22,409,512 parameters.",
    hornet_small="HorNet-S with 7x7 convolutions: 50 M parameters.",
    hornet_base="HorNet-B with 7x7 convolutions: 87 M parameters.",
    hornet_tiny_gf="HorNet-T with global-local filters in stages 3 and 4: 22,991,848 parameters.",
    hornet_small_gf="HorNet-S with global-local filters in stages 3 and 4: 50 M parameters.",
    hornet_base_gf="HorNet-B with global-local filters in stages 3 and 4: 88 M parameters.",
)
