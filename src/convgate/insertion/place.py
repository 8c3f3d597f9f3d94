"""How a block is known, and where in it a tensor is: the words of the placement rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from convgate.insertion.tree import Spot, Where, child, input_width, output_width


@dataclass(frozen=True)
class Place:
    """A tensor of a block: what the part at ``path`` gives, or takes.

    Args:
        path: The part, from the block or network.
        where: "output" or "input" of it.
        width: The part whose output has as many channels; the part itself where empty.
        linear: A part that, being a Linear layer, says that the tensor is (N, H, W, C).
    """

    path: str
    where: Where = "output"
    width: str = ""
    linear: str = ""

    def find(self, root: nn.Module) -> Spot | None:
        """Return the spot in ``root``; None where it lacks the parts."""
        part, source = child(root, self.path), child(root, self.width or self.path)
        if part is None or source is None:
            return None
        taken = self.where == "input" and not self.width
        channels = input_width(source) if taken else output_width(source)
        if channels is None:
            return None
        nhwc = bool(self.linear) and isinstance(child(root, self.linear), nn.Linear)
        return Spot(self.path, self.where, channels, "NHWC" if nhwc else "NCHW")


@dataclass(frozen=True)
class Rule:
    """How to know a kind of block, and where its sites are.

    Args:
        parts: Submodules that it has.
        attributes: Names of which it has one at least; they may be None.
        classes: Names that its class may have; any where empty.
        places: Site name to place.
        attention: The slots where such a block may have channel attention of its own.
        dense: The block's output is one more piece of its stage's, not the next block's input.
    """

    parts: tuple[str, ...]
    places: Mapping[str, Place]
    attributes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    attention: tuple[Place, ...] = field(default=())
    dense: bool = False

    def fits(self, block: nn.Module) -> bool:
        return (
            (not self.classes or type(block).__name__ in self.classes)
            and all(child(block, part) is not None for part in self.parts)
            and (not self.attributes or any(hasattr(block, name) for name in self.attributes))
        )

    def spots(self, block: nn.Module) -> dict[str, Spot]:
        found = {name: place.find(block) for name, place in self.places.items()}
        found["se"] = next(filter(None, (slot.find(block) for slot in self.attention)), None)
        if found["se"] and type(child(block, found["se"].path)) is nn.Identity:
            found["se"] = None
        return {name: spot for name, spot in found.items() if spot}


@dataclass(frozen=True)
class Spots:
    """What is known of a block: its spots by site name, and the channels of its output.

    `width` is None where blocks give pieces of their stage's output, as DenseNet's layers do.
    """

    places: dict[str, Spot]
    width: int | None
