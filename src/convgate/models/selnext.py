"""SELNeXt: "A Latency-Efficient Integration of Channel Attention for ConvNets", Park et al. 2025.

https://doi.org/10.32604/cmc.2025.059966. The trunk is ConvNeXt's, https://arxiv.org/abs/2201.03545.
"""

from collections.abc import Sequence
from typing import Any

from timm.models import generate_default_cfgs

from convgate.models.checkpoint import checkpoint_filter_fn
from convgate.models.entries import build, register_networks
from convgate.models.selnext_block import BlockOptions, SELNeXtBlock
from convgate.models.staged import Blocks, drop_path_rates
from convgate.models.trunk import FEATURE_CFG, Trunk, trunk_cfg


class SELNeXt(Trunk):
    """Four stages of gated ConvNeXt blocks between ConvNeXt's stem, downsampling and head.

    Shape: x (N, in_chans, H, W) with H, W >= 8 stem_stride -> (N, num_classes).
    Source: doi 10.32604/cmc.2025.059966, section 3; biases, eps and initial values as in
        oto-q/SELNeXt, models/selnext.py.

    Args:
        depths: Blocks per stage.
        dims: C per stage.
        stem_stride: Side of the stem's patches in pixels.
        block: The fields of `BlockOptions`.

    Raises:
        InputError: for an unknown gate or gate option, or a width that the gate cannot take.
    """

    def __init__(
        self,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        *,
        depths: Sequence[int] = (3, 3, 9, 3),
        dims: Sequence[int] = (96, 192, 384, 768),
        stem_stride: int = 4,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        **block: Any,
    ) -> None:
        options = BlockOptions(**block)
        rates = drop_path_rates(drop_path_rate, depths)
        stages = [
            Blocks(*(SELNeXtBlock(width, options, rate) for rate in stage))
            for width, stage in zip(dims, rates, strict=True)
        ]
        head = in_chans, num_classes, global_pool
        super().__init__(stages, dims, *head, stem_stride=stem_stride, drop_rate=drop_rate)


def _cfg(**kwargs: Any) -> dict[str, Any]:
    return trunk_cfg(origin_url="https://github.com/oto-q/SELNeXt", **kwargs)


default_cfgs = generate_default_cfgs(
    {
        "selnext_tiny": _cfg(),
        "selnext_small": _cfg(),
        "selnext_base": _cfg(),
        "selnext_atto": _cfg(input_size=(3, 32, 32), pool_size=(2, 2), num_classes=10),
    }
)


PRESETS: dict[str, dict[str, Any]] = {
    "selnext_tiny": {},
    "selnext_small": {"depths": (3, 3, 27, 3)},
    "selnext_base": {"depths": (3, 3, 27, 3), "dims": (128, 256, 512, 1024)},
    "selnext_atto": {"depths": (2, 2, 6, 2), "dims": (16, 32, 64, 128), "stem_stride": 2},
}


def _create(variant: str, pretrained: bool, **kwargs: Any) -> SELNeXt:
    return build(
        SELNeXt,
        variant,
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg=dict(FEATURE_CFG),
        **{**PRESETS[variant], **kwargs},
    )


register_networks(
    __name__,
    _create,
    selnext_tiny="SELNeXt-T: 35,126,656 parameters, 4.46 G multiply-adds at 224 px.",
    selnext_small="SELNeXt-S: 62.14 M parameters, 8.70 G multiply-adds at 224 px.",
    selnext_base="SELNeXt-B: 109.72 M parameters, 15.38 G multiply-adds at 224 px.",
    selnext_atto="SELNeXt for images of 32 px, for studies: 694,514 parameters with 10 classes.",
)
