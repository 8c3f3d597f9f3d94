"""What makes a network, as recipes and cards spell it: task, backbone, gates, detector."""

from dataclasses import dataclass, field, replace
from typing import Literal, Self

from convgate.errors import InputError
from convgate.gates import GATES

Task = Literal["classify", "detect", "segment"]


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """What is learned."""

    name: Task = "classify"  # one class a picture, its objects, or the class of each pixel


@dataclass(frozen=True, kw_only=True)
class DetectorSpec:
    """What sits on the backbone to find objects or to label pixels."""

    name: str  # a detector or segmenter of `convgate ls detectors`
    options: dict[str, object] = field(default_factory=dict)  # its options, of the same list
    # how its maps are taken from the backbone: norm_outputs, frozen_stages, frozen_norms
    backbone: dict[str, object] = field(default_factory=dict)

    @property
    def has_masks(self) -> bool:
        return "mask" in self.name and bool(self.options.get("masks", True))


@dataclass(frozen=True, kw_only=True)
class GateSpec:
    """The gate to insert, and where; without this section there is none."""

    name: str = ""  # a gate of `convgate ls gates`; left out where stages have gates of their own
    at: str = "block_end"  # a site of `convgate ls sites`, or a pattern of module paths
    # stages that get it; left out, all; or a table of stages and their gates, as in
    # {2 = "eca", 4 = "seln"}; or a list, such as [3, 4]
    stages: tuple[int, ...] | dict[str, str] | None = None
    # "paper" with its own first values, "identity", which changes no output, or "depends":
    # "identity" where the network starts from weights, "paper" elsewhere and in place of another
    start: Literal["depends", "identity", "paper"] = "depends"
    # attention that the backbone has already, whose place the gate takes, or which the name "none"
    # takes away
    replaces: str | None = None
    options: dict[str, object] = field(default_factory=dict)  # its own, of the same list

    def __post_init__(self) -> None:
        wrong = sorted(self.options.keys() & {"at", "stages", "start", "example_input"})
        if wrong:
            raise InputError(f"options: {wrong[0]!r} is no option of a gate, but of its place")
        table = self.stages if isinstance(self.stages, dict) else None
        if bool(self.name) == bool(table):
            raise InputError(
                f"name={self.name!r} and a table of stages {table or {}}: give the gate's name, or "
                "a table with the gate of each stage"
            )
        unread = next((stage for stage in table or {} if not stage.isdigit()), None)
        if unread is not None:
            raise InputError(f"stages.{unread}: a stage is a whole number, as 1 for the first")

    def single(self) -> tuple[Self, ...]:
        """Return a section for each gate: itself, or one for each gate in the table of stages.

        Options go to the gates of the table that have them.
        """
        if not isinstance(self.stages, dict):
            return (self,)
        names = dict.fromkeys(name for name in self.stages.values() if name != "none")
        return tuple(
            replace(
                self,
                name=name,
                stages=tuple(sorted(int(s) for s, own in self.stages.items() if own == name)),
                options={k: v for k, v in self.options.items() if k in GATES.options(name)},
            )
            for name in names
        )

    def settled(self, *, learned: bool) -> Self:
        """Return the gate with the start that it has in a network with learned weights or not."""
        if self.start != "depends":
            return self
        return replace(self, start="identity" if learned and not self.replaces else "paper")


@dataclass(frozen=True, kw_only=True)
class GatePlace:
    """Where in a network a gate stands."""

    path: str  # the module that it is put on, or whose place it took
    where: Literal["output", "input", "part"] = "output"  # of that module
    part: int = 0  # which of the tensors that the module returns, where it is a part
    stage: int  # from 1; 0 outside the stages
    channels: int  # C of its input
    layout: Literal["NCHW", "NHWC", "NLC"] = "NCHW"  # of the tensor there
    grid: tuple[int, int]  # H and W there when it was inserted, which tokens (N, H W, C) need


@dataclass(frozen=True, kw_only=True)
class PlacedGate:
    """A gate that a network has, and all its places: enough to put it there again."""

    name: str  # of `convgate ls gates`; "none" where the network's own attention was taken away
    at: str  # the site or the pattern of paths that it was inserted at
    holds: Literal["site", "slot"] = "site"  # beside modules, or in the place of some
    start: Literal["identity", "paper"] = "paper"
    options: dict[str, object] = field(default_factory=dict)
    places: tuple[GatePlace, ...]


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """The backbone."""

    name: str  # a network of `convgate ls models`: ours, timm's, or "torchvision/resnet50"
    # start from its library's weights, which a name may choose by a tag of theirs, as in
    # "resnet50.a1_in1k"; a head of another number of classes is replaced
    pretrained: bool = False
    # a file of weights to start from, whose head of another number of classes is replaced, such as
    # "run/weights.safetensors"
    weights: str | None = None
    weights_classes: int = 1000  # classes of the head in that file, where it does not tell them
    options: dict[str, object] = field(default_factory=dict)  # arguments of the backbone itself
    gates: bool = False  # whether the file's network has gates, which are put in as its card says

    @property
    def is_learned(self) -> bool:
        """Whether it starts from weights."""
        return self.pretrained or self.weights is not None


@dataclass(frozen=True, kw_only=True)
class BaseSpec:
    """What an adapter needs: the weights that it was trained on."""

    weights: str  # in a few words
    pretrained: bool  # whether the library has them under the network's name
    fingerprint: str  # SHA-256 of the tensors that the adapter does not hold
