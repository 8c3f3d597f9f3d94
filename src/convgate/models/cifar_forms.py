"""timm's ResNets, ResNeXts and DenseNets with a 3x3 stem and no pooling, for 32 px images.

https://arxiv.org/abs/1512.03385, https://arxiv.org/abs/1611.05431, https://arxiv.org/abs/1608.06993
"""

from typing import Any

from timm.models import generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from timm.models.densenet import DenseNet
from timm.models.resnet import Bottleneck, ResNet
from torch import Tensor, nn

from convgate.models.entries import build, cifar_cfg, register_networks
from convgate.models.staged import init_he

BLOCK: Any = Bottleneck  # timm's annotation asks for a block in place of its class


class FewerStages(ResNet):
    """timm's ResNet with three stages in the place of four, in what it gives of each stage, too.

    Shape: x (N, C, H, W) -> logits (N, num_classes).
    Source: the model interface of timm, https://huggingface.co/docs/timm/feature_extraction.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.layer4 = nn.Sequential()  # timm runs four stages

    def forward_intermediates(
        self, x: Tensor, indices: int | list[int] | None = None, *args: Any, **options: Any
    ) -> Any:
        taken, _ = feature_take_indices(len(self.feature_info), indices)
        return super().forward_intermediates(x, taken, *args, **options)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, *args: Any, **options: Any
    ) -> list[int]:
        last = len(self.feature_info) - 1
        taken, deepest = feature_take_indices(last + 1, indices)
        kept = [*taken, last + 1] if deepest == last else taken  # or timm drops the head
        super().prune_intermediate_layers(kept, *args, **options)
        return taken


def small_resnet(in_chans: int = 3, num_classes: int = 10, **kwargs: Any) -> ResNet:
    """Return timm's ResNet of bottlenecks with a 3x3 stem, the stride in the 3x3 convolutions.

    Shape: x (N, in_chans, H, W) with H, W >= 1 -> (N, num_classes).
    Source: arXiv 1512.03385, Table 1; arXiv 1611.05431, section 5.1 for three stages; stem and
        initial values as in the CIFAR ResNet-50 of TomLi515/EAN_AAAI.
    """
    kwargs.setdefault("zero_init_last", False)
    kind = ResNet if len(kwargs["layers"]) == 4 else FewerStages
    net: Any = kind(BLOCK, in_chans=in_chans, num_classes=num_classes, **kwargs)
    net.conv1 = nn.Conv2d(in_chans, net.bn1.num_features, 3, padding=1, bias=False)
    net.maxpool = nn.Identity()
    _undo_stem_strides(net)
    return net.apply(init_he)


def small_densenet(in_chans: int = 3, num_classes: int = 10, **kwargs: Any) -> DenseNet:
    """Return timm's DenseNet with a 3x3 stem that has neither norm nor pooling.

    Shape: x (N, in_chans, H, W) with H, W >= 8 -> (N, num_classes).
    Source: arXiv 1608.06993, section 3; the stem as in weiaicunzai/pytorch-cifar100,
        models/densenet.py.
    """
    net: Any = DenseNet(in_chans=in_chans, num_classes=num_classes, **kwargs)
    width = net.features.conv0.out_channels
    net.features.conv0 = nn.Conv2d(in_chans, width, 3, padding=1, bias=False)
    net.features.norm0, net.features.pool0 = nn.Identity(), nn.Identity()
    _undo_stem_strides(net)
    return net.apply(init_he)


def _undo_stem_strides(net: Any) -> None:
    """Say in timm's notes that features after the stem come four times larger."""
    for info in net.feature_info:
        info["reduction"] = max(info["reduction"] // 4, 1)


_RESNEXT = {"layers": (3, 3, 3), "channels": (64, 128, 256)}

RESNETS: dict[str, dict[str, Any]] = {
    "resnet50_cifar": {"layers": (3, 4, 6, 3)},
    "resnet101_cifar": {"layers": (3, 4, 23, 3)},
    "resnext29_16x32d": {**_RESNEXT, "cardinality": 16, "base_width": 32},
    "resnext29_8x64d": {**_RESNEXT, "cardinality": 8, "base_width": 64},
    "resnext29_16x64d": {**_RESNEXT, "cardinality": 16, "base_width": 64},
}

default_cfgs = generate_default_cfgs(
    {
        "resnet50_cifar": cifar_cfg(pool_size=(4, 4)),
        "resnet101_cifar": cifar_cfg(pool_size=(4, 4)),
        "resnext29_16x32d": cifar_cfg(pool_size=(8, 8)),
        "resnext29_8x64d": cifar_cfg(pool_size=(8, 8)),
        "resnext29_16x64d": cifar_cfg(pool_size=(8, 8)),
        "densenet121_cifar": cifar_cfg(
            pool_size=(4, 4), first_conv="features.conv0", classifier="classifier"
        ),
    }
)


def _create_resnet(variant: str, pretrained: bool, **kwargs: Any) -> ResNet:
    preset = RESNETS[variant]
    return build(
        small_resnet,
        variant,
        pretrained,
        feature_cfg={"out_indices": tuple(range(1 + len(preset["layers"])))},
        **{**preset, **kwargs},
    )


register_networks(
    __name__,
    _create_resnet,
    resnet50_cifar="ResNet-50 for CIFAR: 23,705,252 parameters with 100 classes.",
    resnet101_cifar="ResNet-101 for CIFAR: 42,697,380 parameters with 100 classes.",
    resnext29_16x32d="ResNeXt-29, 16 groups, 512 to 2048 wide: 25.14 M parameters for 10 classes.",
    resnext29_8x64d="ResNeXt-29, 8 groups, 512 to 2048 wide: 34.52 M parameters for 100 classes.",
    resnext29_16x64d="ResNeXt-29, 16 groups, 1024 to 4096 wide: 68.16 M parameters for 10 classes.",
)


@register_model
def densenet121_cifar(pretrained: bool = False, **kwargs: Any) -> DenseNet:
    """DenseNet-121 for CIFAR: 7.05 M parameters with 100 classes."""
    return build(
        small_densenet,
        "densenet121_cifar",
        pretrained,
        feature_cfg={"flatten_sequential": True},
        **{"growth_rate": 32, "block_config": (6, 12, 24, 16), **kwargs},
    )
