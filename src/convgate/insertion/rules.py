"""Where a block's sites are: the placement rules of the papers, as one table.

A block is recognised by the names of its parts, so neither timm nor torchvision is imported. Blocks
that are one Sequential branch have rows in `branch.py`.
"""

from torch import nn

from convgate.insertion.branch import BRANCHES, branch_spots
from convgate.insertion.place import Place, Rule, Spots
from convgate.insertion.tree import Spot, child

SITES = (
    "stem_end",
    "expanded",
    "spatial_raw",
    "spatial",
    "hidden",
    "se",
    "block_end",
    "stage_end",
)


SHORTCUT = ("downsample", "shortcut")

RULES: dict[str, Rule] = {
    "bottleneck of ResNet, ResNeXt, WRN": Rule(
        parts=("conv1", "bn1", "conv2", "bn2", "conv3", "bn3"),
        attributes=SHORTCUT,
        places={
            "spatial_raw": Place("conv2"),
            "spatial": Place("conv3", "input"),
            "block_end": Place("bn3"),
        },
        attention=(Place("se", width="bn3"), Place("se_module", width="bn3")),
    ),
    "basic block of ResNet": Rule(
        parts=("conv1", "bn1", "conv2", "bn2"),
        attributes=SHORTCUT,
        places={
            "spatial_raw": Place("conv1"),
            "spatial": Place("conv2", "input"),
            "block_end": Place("bn2"),
        },
        attention=(Place("se", width="bn2"), Place("se_module", width="bn2")),
    ),
    "bottleneck of RegNet": Rule(
        parts=("conv1.conv", "conv1.bn", "conv2.conv", "conv2.bn", "conv3.bn"),
        places={
            "spatial_raw": Place("conv2.conv"),
            "spatial": Place("conv2", width="conv2.bn"),
            "block_end": Place("conv3", width="conv3.bn"),
        },
        attention=(Place("se", width="conv2.bn"),),
    ),
    "pre-activated bottleneck": Rule(
        parts=("norm1", "conv1", "norm2", "conv2", "norm3", "conv3"),
        attributes=SHORTCUT,
        places={
            "spatial_raw": Place("conv2"),
            "spatial": Place("conv3", "input"),
            "block_end": Place("conv3"),
        },
        attention=(Place("se", width="conv2"),),
    ),
    "pre-activated basic block of WRN": Rule(
        parts=("norm1", "conv1", "norm2", "conv2"),
        attributes=SHORTCUT,
        places={
            "spatial_raw": Place("conv1"),
            "spatial": Place("conv2", "input"),
            "block_end": Place("conv2"),
        },
    ),
    "inverted residual": Rule(
        parts=("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"),
        places={
            "expanded": Place("bn1"),
            "spatial_raw": Place("conv_dw"),
            "spatial": Place("bn2"),
            "block_end": Place("bn3"),
        },
        attention=(Place("se", width="bn2"),),
    ),
    "fused inverted residual": Rule(
        parts=("conv_exp", "bn1", "conv_pwl", "bn2"),
        places={
            "expanded": Place("bn1"),
            "spatial_raw": Place("conv_exp"),
            "spatial": Place("bn1"),
            "block_end": Place("bn2"),
        },
        attention=(Place("se", width="bn1"),),
    ),
    "depthwise-separable block": Rule(
        parts=("conv_dw", "bn1", "conv_pw", "bn2"),
        places={
            "spatial_raw": Place("conv_dw"),
            "spatial": Place("bn1"),
            "block_end": Place("bn2"),
        },
        attention=(Place("se", width="bn1"),),
    ),
    "single convolution of EfficientNet": Rule(
        parts=("conv", "bn1"),
        attributes=("has_skip",),
        places={
            "spatial_raw": Place("conv"),
            "spatial": Place("bn1"),
            "block_end": Place("bn1"),
        },
    ),
    # The 3x3 convolution comes last, its norm and activation before it.
    "layer of DenseNet": Rule(
        parts=("norm1", "conv1", "norm2", "conv2"),
        classes=("DenseLayer", "_DenseLayer"),
        places={
            "spatial_raw": Place("conv2"),
            "spatial": Place("conv2"),
            "block_end": Place("conv2"),
        },
        dense=True,
    ),
    # The branch ends before layer scale: after it the values are a millionth of their size.
    "block of ConvNeXt, SELNeXt": Rule(
        parts=("conv_dw", "mlp.fc1", "mlp.act", "mlp.fc2"),
        places={
            "spatial_raw": Place("conv_dw"),
            "spatial": Place("norm", width="conv_dw", linear="mlp.fc1"),
            "hidden": Place("mlp.act", width="mlp.fc1", linear="mlp.fc1"),
            "block_end": Place("mlp.fc2", linear="mlp.fc2"),
        },
        attention=(Place("mlp.gate", width="mlp.fc1"),),
    ),
    "block of HorNet": Rule(
        parts=("gnconv.mix", "gnconv.proj_out", "mlp.fc1", "mlp.act", "mlp.fc2"),
        places={
            "spatial_raw": Place("gnconv.mix"),
            "spatial": Place("gnconv", width="gnconv.proj_out"),
            "hidden": Place("mlp.act", width="mlp.fc1", linear="mlp.fc1"),
            "block_end": Place("mlp.fc2", linear="mlp.fc2"),
        },
    ),
}

STEMS: dict[str, tuple[tuple[str, ...], Place]] = {
    "ResNet": (("maxpool", "bn1"), Place("maxpool", "input", width="bn1")),
    "ShuffleNetV2": (("maxpool", "conv1"), Place("maxpool", "input", width="conv1")),
    "DenseNet": (
        ("features.pool0",),
        Place("features.pool0", "input", width="features.denseblock1.denselayer1.norm1"),
    ),
    "SENet": (("layer0.pool", "layer0.bn1"), Place("layer0.pool", "input", width="layer0.bn1")),
    "timm's MobileNet and EfficientNet": (("conv_stem", "bn1"), Place("bn1")),
    "ResNet without pooling": (("act1", "bn1"), Place("act1", width="bn1")),
    "timm's RegNet": (("stem.bn",), Place("stem", width="stem.bn")),
    "ConvNeXt, SELNeXt, HorNet, WRN": (("stem",), Place("stem")),
    "torchvision's Sequential nets": (("features.0",), Place("features.0")),
}


def block_spots(block: nn.Module) -> Spots | None:
    """Return the spots of a block; None for anything else."""
    for rule in RULES.values():
        if rule.fits(block):
            return _checked(block, rule.spots(block), 0 if rule.dense else 1)
    for name in BRANCHES.get(type(block).__name__, ()):
        branch = child(block, name)
        if isinstance(branch, nn.Sequential):
            # ShuffleNetV2 concatenates the branch with as many other channels.
            return _checked(block, branch_spots(branch, name), 2 if name == "branch2" else 1)
    return None


def stem_spot(root: nn.Module) -> Spot | None:
    """Return where the stem of a network ends."""
    for parts, place in STEMS.values():
        if all(child(root, part) is not None for part in parts):
            return place.find(root)
    return None


def _checked(block: nn.Module, spots: dict[str, Spot], branches: int) -> Spots | None:
    """Return the spots if the block mixes positions; a 1x1 convolution alone is no block."""
    conv = child(block, spots["spatial_raw"].path) if "spatial_raw" in spots else None
    pointwise = isinstance(conv, nn.Conv2d) and set(conv.kernel_size) == {1}
    if conv is None or pointwise or "block_end" not in spots:
        return None
    return Spots(spots, branches * spots["block_end"].channels or None)
