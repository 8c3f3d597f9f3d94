"""Where in a block a tensor is: by the names of its parts, or by the order of a branch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import nn

from convgate.gates import Gate
from convgate.insertion.identity import IdentityStart
from convgate.insertion.module_tree import (
    TensorSite,
    Where,
    child,
    input_width,
    join,
    output_width,
    own_children,
)

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
class Locator:
    """A tensor of a block: what the part at ``path`` gives, or takes."""

    path: str  # the part, from the block or network
    where: Where = "output"  # "output" or "input" of it
    width: str = ""  # the part whose output has as many channels; the part itself where empty
    linear: str = ""  # a part that, being a Linear layer, says that the tensor is (N, H, W, C)

    def find(self, root: nn.Module) -> TensorSite | None:
        """Return the tensor in ``root``; None where it lacks the parts."""
        part, source = child(root, self.path), child(root, self.width or self.path)
        if part is None or source is None:
            return None
        taken = self.where == "input" and not self.width
        channels = input_width(source) if taken else output_width(source)
        if channels is None:
            return None
        nhwc = bool(self.linear) and isinstance(child(root, self.linear), nn.Linear)
        return TensorSite(self.path, self.where, channels, "NHWC" if nhwc else "NCHW")


@dataclass(frozen=True)
class BlockRule:
    """How to know a kind of block, and where its sites are."""

    parts: tuple[str, ...]  # submodules that it has
    locators: Mapping[str, Locator]  # site name to locator
    attributes: tuple[str, ...] = ()  # names of which it has one at least; they may be None
    classes: tuple[str, ...] = ()  # names that its class may have; any where empty
    attention: tuple[Locator, ...] = field(default=())  # slots of attention of its own
    dense: bool = False  # the output is one more piece of the stage's, not the next block's input

    def matches(self, block: nn.Module) -> bool:
        return (
            (not self.classes or type(block).__name__ in self.classes)
            and all(child(block, part) is not None for part in self.parts)
            and (not self.attributes or any(hasattr(block, name) for name in self.attributes))
        )

    def tensors(self, block: nn.Module) -> dict[str, TensorSite]:
        found = {name: locator.find(block) for name, locator in self.locators.items()}
        found["se"] = next(filter(None, (slot.find(block) for slot in self.attention)), None)
        if found["se"] and type(child(block, found["se"].path)) is nn.Identity:
            found["se"] = None
        return {name: tensor for name, tensor in found.items() if tensor}


@dataclass(frozen=True)
class BlockSites:
    """What is known of a block: its tensors by site name, and the channels of its output.

    `width` is None where blocks give pieces of their stage's output, as DenseNet's layers do.
    """

    tensors: dict[str, TensorSite]
    width: int | None


@dataclass(frozen=True)
class Leaf:
    """One step of a branch, with the channels and the layout of what it gives."""

    module: nn.Module
    tensor: TensorSite

    @property
    def is_layer(self) -> bool:
        return isinstance(self.module, (nn.Conv2d, nn.Linear))

    @property
    def is_attention(self) -> bool:
        return isinstance(self.module, (Gate, IdentityStart)) or bool(own_children(self.module))


def branch_sites(branch: nn.Sequential, path: str) -> dict[str, TensorSite]:
    """Return the tensors of a branch by site name.

    `spatial` follows the first convolution larger than 1x1; `expanded` the first convolution, if
    its output is wider than what the branch takes and gives; `hidden` the first linear layer.
    """
    leaves = list(_leaves(branch, path))
    convs = [i for i, leaf in enumerate(leaves) if isinstance(leaf.module, nn.Conv2d)]
    spatial = next((i for i in convs if max(leaves[i].module.kernel_size) > 1), None)  # type: ignore[arg-type]
    linear = next((i for i, leaf in enumerate(leaves) if isinstance(leaf.module, nn.Linear)), None)
    if spatial is None:
        return {}
    tensors = {
        "spatial_raw": leaves[spatial].tensor,
        "spatial": _after_activation(leaves, spatial),
        "block_end": leaves[-1].tensor,
    }
    if _expands(leaves, convs):
        tensors["expanded"] = _after_activation(leaves, convs[0])
    if linear is not None:
        tensors["hidden"] = _after_activation(leaves, linear)
    attention = next((leaf for leaf in leaves if leaf.is_attention), None)
    return tensors | {"se": attention.tensor} if attention else tensors


def _leaves(branch: nn.Sequential, path: str) -> Iterator[Leaf]:
    channels, layout = 0, "NCHW"
    for name, module in _flat(branch, path):
        dims = getattr(module, "dims", None)  # of a permutation
        if dims is not None:
            layout = "NHWC" if list(dims) == [0, 2, 3, 1] else "NCHW"
        channels = output_width(module) or channels
        yield Leaf(module, TensorSite(name, "output", channels, layout))  # type: ignore[arg-type]


def _flat(branch: nn.Sequential, path: str) -> Iterator[tuple[str, nn.Module]]:
    for name, module in branch.named_children():
        if isinstance(module, nn.Sequential):
            yield from _flat(module, join(path, name))
        else:
            yield join(path, name), module


def _after_activation(leaves: list[Leaf], index: int) -> TensorSite:
    """Return the tensor after a layer's norm and activation."""
    for leaf, after in zip(leaves[index:], leaves[index + 1 :], strict=False):
        if after.is_layer or after.is_attention or type(after.module) is nn.Identity:
            return leaf.tensor
    return leaves[-1].tensor


def _expands(leaves: list[Leaf], convs: list[int]) -> bool:
    first, last = leaves[convs[0]].module, leaves[convs[-1]].module
    wide = first.out_channels
    return bool(wide > first.in_channels and wide > last.out_channels)  # type: ignore[operator]
