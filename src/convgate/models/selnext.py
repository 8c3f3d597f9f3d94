"""SELNeXt: "A Latency-Efficient Integration of Channel Attention for ConvNets", Park et al. 2025.

https://doi.org/10.32604/cmc.2025.059966. The trunk is ConvNeXt's, https://arxiv.org/abs/2201.03545.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers.classifier import NormMlpClassifierHead
from timm.layers.norm import LayerNorm2d
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from convgate.models.checkpoint import checkpoint_filter_fn
from convgate.models.selnext_block import NORM_EPS, BlockOptions, SELNeXtBlock
from convgate.models.staged import Blocks, Staged, drop_path_rates

__all__ = [
    "SELNeXt",
    "selnext_atto",
    "selnext_base",
    "selnext_small",
    "selnext_tiny",
]


class SELNeXt(Staged):
    """Four stages of gated ConvNeXt blocks between ConvNeXt's stem, downsampling and head.

    Shape: x (N, in_chans, H, W) with H, W >= 8 stem_stride -> (N, num_classes).
    Source: doi 10.32604/cmc.2025.059966, section 3; biases, eps and initial values as in
        oto-q/SELNeXt, models/selnext.py.

    Args:
        in_chans: Channels of the image.
        num_classes: Width of the classifier; 0 for none.
        global_pool: "avg", "max", "avgmax", or "" for none.
        depths: Blocks per stage.
        dims: C per stage.
        stem_stride: Side of the stem's patches in pixels.
        drop_rate: Dropout before the classifier.
        drop_path_rate: That of the last block; it grows linearly from 0 at the first.
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
        super().__init__()
        options = BlockOptions(**block)
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.drop_rate = drop_rate
        self.num_features = self.head_hidden_size = dims[-1]
        self.feature_info = [
            {"num_chs": width, "reduction": stem_stride * 2**i, "module": f"stages.{i}"}
            for i, width in enumerate(dims)
        ]
        self.stem = nn.Sequential(
            nn.Conv2d(in_chans, dims[0], stem_stride, stem_stride), LayerNorm2d(dims[0], NORM_EPS)
        )
        rates = drop_path_rates(drop_path_rate, depths)
        widths_in = (None, *dims[:-1])
        self.stages = nn.Sequential(*map(_stage, widths_in, dims, rates, [options] * len(dims)))
        self.head = NormMlpClassifierHead(
            dims[-1], num_classes, pool_type=global_pool, drop_rate=drop_rate
        )
        self.apply(_init_weights)

    def forward_stem(self, x: Tensor) -> Tensor:
        return self.stem(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        return self.head(x, pre_logits=pre_logits)

    def get_classifier(self) -> nn.Module:
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        self.num_classes = num_classes
        self.head.reset(num_classes, global_pool)
        self.head.to(next(self.stem.parameters()))

    def drop_head(self) -> None:
        super().drop_head()
        self.head.norm = nn.Identity()  # it fits the last stage's width alone

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return timm's patterns of layer groups, from stem to head."""
        blocks = [
            (r"^stages\.(\d+)\.downsample", (0,)),
            (r"^stages\.(\d+)\.blocks\.(\d+)", None),
        ]
        return {"stem": r"^stem", "blocks": r"^stages\.(\d+)" if coarse else blocks}


def _stage(
    width_in: int | None, width: int, rates: Sequence[float], options: BlockOptions
) -> nn.Sequential:
    """Halve the map (not in the first stage), then run the blocks."""
    downsample: nn.Module = nn.Identity()
    if width_in is not None:
        downsample = nn.Sequential(
            LayerNorm2d(width_in, NORM_EPS), nn.Conv2d(width_in, width, 2, 2)
        )
    blocks = Blocks(*(SELNeXtBlock(width, options, rate) for rate in rates))
    return nn.Sequential(OrderedDict(downsample=downsample, blocks=blocks))


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _cfg(**kwargs: Any) -> dict[str, Any]:
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "stem.0",
        "classifier": "head.fc",
        "origin_url": "https://github.com/oto-q/SELNeXt",
        **kwargs,
    }


default_cfgs = generate_default_cfgs(
    {
        "selnext_tiny": _cfg(),
        "selnext_small": _cfg(),
        "selnext_base": _cfg(),
        "selnext_atto": _cfg(input_size=(3, 32, 32), pool_size=(2, 2), num_classes=10),
    }
)


def _create(variant: str, pretrained: bool, preset: Mapping[str, Any], **kwargs: Any) -> SELNeXt:
    return build_model_with_cfg(
        SELNeXt,
        variant,
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"out_indices": (0, 1, 2, 3), "flatten_sequential": True},
        **{**preset, **kwargs},
    )


@register_model
def selnext_tiny(pretrained: bool = False, **kwargs: Any) -> SELNeXt:
    """SELNeXt-T: 35,126,656 parameters, 4.46 G multiply-adds at 224 px."""
    return _create("selnext_tiny", pretrained, {}, **kwargs)


@register_model
def selnext_small(pretrained: bool = False, **kwargs: Any) -> SELNeXt:
    """SELNeXt-S: 62.14 M parameters, 8.70 G multiply-adds at 224 px."""
    return _create("selnext_small", pretrained, {"depths": (3, 3, 27, 3)}, **kwargs)


@register_model
def selnext_base(pretrained: bool = False, **kwargs: Any) -> SELNeXt:
    """SELNeXt-B: 109.72 M parameters, 15.38 G multiply-adds at 224 px."""
    preset = {"depths": (3, 3, 27, 3), "dims": (128, 256, 512, 1024)}
    return _create("selnext_base", pretrained, preset, **kwargs)


@register_model
def selnext_atto(pretrained: bool = False, **kwargs: Any) -> SELNeXt:
    """SELNeXt for images of 32 px, for studies and tests: 694,514 parameters with 10 classes."""
    preset = {"depths": (2, 2, 6, 2), "dims": (16, 32, 64, 128), "stem_stride": 2}
    return _create("selnext_atto", pretrained, preset, **kwargs)
