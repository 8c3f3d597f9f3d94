"""What makes a network, as recipes and cards spell it: task, backbone, gates, detector."""

from dataclasses import dataclass, field
from typing import Literal

Task = Literal["classify", "detect", "segment"]


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """What is learned: one class a picture, its objects, or the class of each pixel."""

    name: Task = "classify"


@dataclass(frozen=True, kw_only=True)
class DetectorSpec:
    """What sits on the backbone: a detector or a segmenter by name, and its own options."""

    name: str  # of `list_detectors()`, or of `list_segmenters()`
    options: dict[str, object] = field(default_factory=dict)  # its own, such as ``min_size``
    # of `create_backbone`, such as ``norm_outputs`` and ``frozen_stages``
    backbone: dict[str, object] = field(default_factory=dict)

    @property
    def has_masks(self) -> bool:
        return "mask" in self.name and bool(self.options.get("masks", True))


@dataclass(frozen=True, kw_only=True)
class GateSpec:
    """The gate to insert, and where.

    ``replaces`` names a gate that the backbone already has (such as "se"), whose place is taken;
    with the name "none" it is taken away.
    """

    name: str
    at: str = "block_end"
    stages: tuple[int, ...] | None = None
    start: Literal["paper", "identity"] = "paper"
    replaces: str | None = None
    options: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A backbone by name (ours, timm's, or "torchvision/resnet50") and its own options.

    ``weights`` is a file to start from; its head, of ``weights_classes`` classes, is replaced.
    ``gates`` are those that the file's network has already.
    """

    name: str
    weights: str | None = None
    weights_classes: int = 1000
    options: dict[str, object] = field(default_factory=dict)
    gates: tuple[GateSpec, ...] = ()
