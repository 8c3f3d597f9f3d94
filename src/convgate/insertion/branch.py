"""The sites of a block whose branch is one Sequential, read off the order of its leaves."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from convgate.gates import Gate
from convgate.insertion.identity import IdentityStart
from convgate.insertion.tree import Spot, join, output_width, own_children

BRANCHES: dict[str, tuple[str, ...]] = {
    "InvertedResidual": ("conv", "block", "branch2"),  # MobileNetV2, MobileNetV3, ShuffleNetV2
    "MBConv": ("block",),
    "FusedMBConv": ("block",),
    "ResBottleneckBlock": ("f",),
    "CNBlock": ("block",),
    "Sandglass": ("branch",),  # MobileNeXt
}
"""Class name to the attributes that may hold the branch."""


@dataclass(frozen=True)
class Leaf:
    """One step of a branch, with the channels and the layout of what it gives."""

    module: nn.Module
    spot: Spot

    @property
    def is_layer(self) -> bool:
        return isinstance(self.module, (nn.Conv2d, nn.Linear))

    @property
    def is_attention(self) -> bool:
        return isinstance(self.module, (Gate, IdentityStart)) or bool(own_children(self.module))


def branch_spots(branch: nn.Sequential, path: str) -> dict[str, Spot]:
    """Return the spots of a branch by site name.

    `spatial` follows the first convolution larger than 1x1; `expanded` the first convolution, if
    its output is wider than what the branch takes and gives; `hidden` the first linear layer.
    """
    leaves = list(_leaves(branch, path))
    convs = [i for i, leaf in enumerate(leaves) if isinstance(leaf.module, nn.Conv2d)]
    spatial = next((i for i in convs if max(leaves[i].module.kernel_size) > 1), None)  # type: ignore[arg-type]
    linear = next((i for i, leaf in enumerate(leaves) if isinstance(leaf.module, nn.Linear)), None)
    if spatial is None:
        return {}
    spots = {
        "spatial_raw": leaves[spatial].spot,
        "spatial": _settled(leaves, spatial),
        "block_end": leaves[-1].spot,
    }
    if _expands(leaves, convs):
        spots["expanded"] = _settled(leaves, convs[0])
    if linear is not None:
        spots["hidden"] = _settled(leaves, linear)
    attention = next((leaf for leaf in leaves if leaf.is_attention), None)
    return spots | {"se": attention.spot} if attention else spots


def _leaves(branch: nn.Sequential, path: str) -> Iterator[Leaf]:
    channels, layout = 0, "NCHW"
    for name, module in _flat(branch, path):
        dims = getattr(module, "dims", None)  # of a permutation
        if dims is not None:
            layout = "NHWC" if list(dims) == [0, 2, 3, 1] else "NCHW"
        channels = output_width(module) or channels
        yield Leaf(module, Spot(name, "output", channels, layout))  # type: ignore[arg-type]


def _flat(branch: nn.Sequential, path: str) -> Iterator[tuple[str, nn.Module]]:
    for name, module in branch.named_children():
        if isinstance(module, nn.Sequential):
            yield from _flat(module, join(path, name))
        else:
            yield join(path, name), module


def _settled(leaves: list[Leaf], index: int) -> Spot:
    """Return the spot after a layer's norm and activation."""
    for leaf, after in zip(leaves[index:], leaves[index + 1 :], strict=False):
        if after.is_layer or after.is_attention or type(after.module) is nn.Identity:
            return leaf.spot
    return leaves[-1].spot


def _expands(leaves: list[Leaf], convs: list[int]) -> bool:
    first, last = leaves[convs[0]].module, leaves[convs[-1]].module
    wide = first.out_channels
    return bool(wide > first.in_channels and wide > last.out_channels)  # type: ignore[operator]
