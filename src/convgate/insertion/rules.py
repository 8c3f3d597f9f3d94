"""Where a block's sites are: the placement rules of the papers, as one table.

A block is recognised by the names of its parts, so neither timm nor torchvision is imported. Blocks
that are one Sequential branch have rows in `blocks.py`.
"""

from torch import nn

from convgate.insertion.blocks import BRANCHES, BlockRule, BlockSites, Locator, branch_sites
from convgate.insertion.module_tree import TensorSite, child

SITES = ("stem_end", "expanded", "spatial_raw", "spatial", "hidden", "se", "block_end", "stage_end")
SHORTCUT = ("downsample", "shortcut")

RULES: dict[str, BlockRule] = {
    "bottleneck of ResNet, ResNeXt, WRN": BlockRule(
        parts=("conv1", "bn1", "conv2", "bn2", "conv3", "bn3"),
        attributes=SHORTCUT,
        locators={
            "spatial_raw": Locator("conv2"),
            "spatial": Locator("conv3", "input"),
            "block_end": Locator("bn3"),
        },
        attention=(Locator("se", width="bn3"), Locator("se_module", width="bn3")),
    ),
    "basic block of ResNet": BlockRule(
        parts=("conv1", "bn1", "conv2", "bn2"),
        attributes=SHORTCUT,
        locators={
            "spatial_raw": Locator("conv1"),
            "spatial": Locator("conv2", "input"),
            "block_end": Locator("bn2"),
        },
        attention=(Locator("se", width="bn2"), Locator("se_module", width="bn2")),
    ),
    "bottleneck of RegNet": BlockRule(
        parts=("conv1.conv", "conv1.bn", "conv2.conv", "conv2.bn", "conv3.bn"),
        locators={
            "spatial_raw": Locator("conv2.conv"),
            "spatial": Locator("conv2", width="conv2.bn"),
            "block_end": Locator("conv3", width="conv3.bn"),
        },
        attention=(Locator("se", width="conv2.bn"),),
    ),
    "pre-activated bottleneck": BlockRule(
        parts=("norm1", "conv1", "norm2", "conv2", "norm3", "conv3"),
        attributes=SHORTCUT,
        locators={
            "spatial_raw": Locator("conv2"),
            "spatial": Locator("conv3", "input"),
            "block_end": Locator("conv3"),
        },
        attention=(Locator("se", width="conv2"),),
    ),
    "pre-activated basic block of WRN": BlockRule(
        parts=("norm1", "conv1", "norm2", "conv2"),
        attributes=SHORTCUT,
        locators={
            "spatial_raw": Locator("conv1"),
            "spatial": Locator("conv2", "input"),
            "block_end": Locator("conv2"),
        },
    ),
    "inverted residual": BlockRule(
        parts=("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"),
        locators={
            "expanded": Locator("bn1"),
            "spatial_raw": Locator("conv_dw"),
            "spatial": Locator("bn2"),
            "block_end": Locator("bn3"),
        },
        attention=(Locator("se", width="bn2"),),
    ),
    "fused inverted residual": BlockRule(
        parts=("conv_exp", "bn1", "conv_pwl", "bn2"),
        locators={
            "expanded": Locator("bn1"),
            "spatial_raw": Locator("conv_exp"),
            "spatial": Locator("bn1"),
            "block_end": Locator("bn2"),
        },
        attention=(Locator("se", width="bn1"),),
    ),
    "depthwise-separable block": BlockRule(
        parts=("conv_dw", "bn1", "conv_pw", "bn2"),
        locators={
            "spatial_raw": Locator("conv_dw"),
            "spatial": Locator("bn1"),
            "block_end": Locator("bn2"),
        },
        attention=(Locator("se", width="bn1"),),
    ),
    "single convolution of EfficientNet": BlockRule(
        parts=("conv", "bn1"),
        attributes=("has_skip",),
        locators={
            "spatial_raw": Locator("conv"),
            "spatial": Locator("bn1"),
            "block_end": Locator("bn1"),
        },
    ),
    # The 3x3 convolution comes last, its norm and activation before it.
    "layer of DenseNet": BlockRule(
        parts=("norm1", "conv1", "norm2", "conv2"),
        classes=("DenseLayer", "_DenseLayer"),
        locators={
            "spatial_raw": Locator("conv2"),
            "spatial": Locator("conv2"),
            "block_end": Locator("conv2"),
        },
        dense=True,
    ),
    # The branch ends before layer scale: after it the values are a millionth of their size.
    "block of ConvNeXt, SELNeXt": BlockRule(
        parts=("conv_dw", "mlp.fc1", "mlp.act", "mlp.fc2"),
        locators={
            "spatial_raw": Locator("conv_dw"),
            "spatial": Locator("norm", width="conv_dw", linear="mlp.fc1"),
            "hidden": Locator("mlp.act", width="mlp.fc1", linear="mlp.fc1"),
            "block_end": Locator("mlp.fc2", linear="mlp.fc2"),
        },
        attention=(Locator("mlp.gate", width="mlp.fc1"),),
    ),
    "block of HorNet": BlockRule(
        parts=("gnconv.mix", "gnconv.proj_out", "mlp.fc1", "mlp.act", "mlp.fc2"),
        locators={
            "spatial_raw": Locator("gnconv.mix"),
            "spatial": Locator("gnconv", width="gnconv.proj_out"),
            "hidden": Locator("mlp.act", width="mlp.fc1", linear="mlp.fc1"),
            "block_end": Locator("mlp.fc2", linear="mlp.fc2"),
        },
    ),
}

STEMS: dict[str, tuple[tuple[str, ...], Locator]] = {
    "ResNet": (("maxpool", "bn1"), Locator("maxpool", "input", width="bn1")),
    "ShuffleNetV2": (("maxpool", "conv1"), Locator("maxpool", "input", width="conv1")),
    "DenseNet": (
        ("features.pool0",),
        Locator("features.pool0", "input", width="features.denseblock1.denselayer1.norm1"),
    ),
    "SENet": (("layer0.pool", "layer0.bn1"), Locator("layer0.pool", "input", width="layer0.bn1")),
    "timm's MobileNet and EfficientNet": (("conv_stem", "bn1"), Locator("bn1")),
    "ResNet without pooling": (("act1", "bn1"), Locator("act1", width="bn1")),
    "timm's RegNet": (("stem.bn",), Locator("stem", width="stem.bn")),
    "ConvNeXt, SELNeXt, HorNet, WRN": (("stem",), Locator("stem")),
    "torchvision's Sequential nets": (("features.0",), Locator("features.0")),
}


def block_sites(block: nn.Module) -> BlockSites | None:
    """Return the tensors of a block; None for anything else."""
    for rule in RULES.values():
        if rule.matches(block):
            return _checked(block, rule.tensors(block), 0 if rule.dense else 1)
    for name in BRANCHES.get(type(block).__name__, ()):
        branch = child(block, name)
        if isinstance(branch, nn.Sequential):
            # ShuffleNetV2 concatenates the branch with as many other channels.
            return _checked(block, branch_sites(branch, name), 2 if name == "branch2" else 1)
    return None


def stem_site(root: nn.Module) -> TensorSite | None:
    for parts, locator in STEMS.values():
        if all(child(root, part) is not None for part in parts):
            return locator.find(root)
    return None


def _checked(block: nn.Module, tensors: dict[str, TensorSite], branches: int) -> BlockSites | None:
    """Return the tensors if the block mixes positions; a 1x1 convolution alone is no block."""
    conv = child(block, tensors["spatial_raw"].path) if "spatial_raw" in tensors else None
    pointwise = isinstance(conv, nn.Conv2d) and set(conv.kernel_size) == {1}
    if conv is None or pointwise or "block_end" not in tensors:
        return None
    return BlockSites(tensors, branches * tensors["block_end"].channels or None)
