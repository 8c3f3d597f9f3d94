"""The trunk of ConvNeXt: "A ConvNet for the 2020s", Liu et al. 2022, around blocks of any kind.

https://arxiv.org/abs/2201.03545.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from timm.layers.classifier import NormMlpClassifierHead
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from convgate.models.entries import imagenet_cfg
from convgate.models.staged import Blocks, Staged

NORM_EPS = 1e-6  # of every layer norm outside a gate


class Trunk(Staged):
    """Four stages of blocks between ConvNeXt's stem, downsampling and head.

    Shape: x (N, in_chans, H, W) with H, W >= 8 stem_stride -> (N, num_classes).
    Source: arXiv 2201.03545, section 2; eps and initial values as in facebookresearch/ConvNeXt,
        models/convnext.py.

    Args:
        stages: The blocks, stage by stage.
        dims: C per stage.
        stem_stride: Side of the stem's patches in pixels.
    """

    def __init__(
        self,
        stages: Sequence[Blocks],
        dims: Sequence[int],
        in_chans: int,
        num_classes: int,
        global_pool: str,
        *,
        stem_stride: int = 4,
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
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
        widths_in = (None, *dims[:-1])
        self.stages = nn.Sequential(*map(_stage, widths_in, dims, stages))
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
        self.head.to(next(self.stem.parameters())).train(self.training)

    def drop_head(self) -> None:
        super().drop_head()
        self.head.norm = nn.Identity()  # it fits the last stage's width alone

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        blocks = [(r"^stages\.(\d+)\.downsample", (0,)), (r"^stages\.(\d+)\.blocks\.(\d+)", None)]
        return {"stem": r"^stem", "blocks": r"^stages\.(\d+)" if coarse else blocks}


def _stage(width_in: int | None, width: int, blocks: Blocks) -> nn.Sequential:
    """Halve the map (not in the first stage), then run the blocks."""
    downsample: nn.Module = nn.Identity()
    if width_in is not None:
        downsample = nn.Sequential(
            LayerNorm2d(width_in, NORM_EPS), nn.Conv2d(width_in, width, 2, 2)
        )
    return nn.Sequential(OrderedDict(downsample=downsample, blocks=blocks))


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def trunk_cfg(**kwargs: Any) -> dict[str, Any]:
    return imagenet_cfg(**{"first_conv": "stem.0", "classifier": "head.fc", **kwargs})


FEATURE_CFG = {"out_indices": (0, 1, 2, 3), "flatten_sequential": True}
