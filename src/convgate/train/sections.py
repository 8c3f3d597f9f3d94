"""The sections of a recipe, with the values that each may take."""

from dataclasses import dataclass, field
from typing import Literal

from convgate.errors import InputError


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise InputError(rule)


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A backbone by name (ours, timm's, or "torchvision/resnet50") and its own options.

    ``weights`` is a file to start from; its head, of ``weights_classes`` classes, is replaced.
    """

    name: str
    weights: str | None = None
    weights_classes: int = 1000
    options: dict[str, object] = field(default_factory=dict)


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
class OptimizerSpec:
    """``decay_all`` also decays biases and norms, which are otherwise left alone."""

    name: Literal["adamw", "sgd", "rmsprop"]
    lr: float
    weight_decay: float = 0.0
    momentum: float = 0.9
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    alpha: float = 0.9
    eps: float = 1e-8
    decay_all: bool = False

    def __post_init__(self) -> None:
        _require(self.lr > 0, f"lr={self.lr} must be above 0")
        _require(self.weight_decay >= 0, f"weight_decay={self.weight_decay} must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class ScheduleSpec:
    """The rate over the run: a linear warm-up, then cosine to ``min_lr`` or steps of ``gamma``.

    Steps come at ``milestones`` or every ``step_epochs`` epochs.
    """

    name: Literal["cosine", "step"]
    epochs: int
    warmup_epochs: int = 0
    warmup_lr: float = 0.0
    min_lr: float = 0.0
    milestones: tuple[int, ...] = ()
    step_epochs: float = 0.0
    gamma: float = 0.1

    def __post_init__(self) -> None:
        _require(self.epochs > 0, f"epochs={self.epochs} must be 1 or more")
        rule = f"warmup_epochs={self.warmup_epochs} must lie in 0..{self.epochs} (epochs)"
        _require(0 <= self.warmup_epochs <= self.epochs, rule)
        stepped = bool(self.milestones) or self.step_epochs > 0
        if self.name == "step":
            _require(stepped, "a step schedule needs milestones or step_epochs")


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """How the run is carried out.

    ``batch_size`` counts the images of one update, over all processes and accumulated passes.
    """

    batch_size: int
    accumulate: int = 1
    seed: int = 0
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    channels_last: bool = False
    compile: bool = False
    ema_decay: float = 0.0
    drop_path: float = 0.0
    clip_grad: float = 0.0
    sync_batchnorm: bool = False

    def __post_init__(self) -> None:
        _require(self.batch_size > 0, f"batch_size={self.batch_size} must be 1 or more")
        whole = self.accumulate > 0 and self.batch_size % self.accumulate == 0
        _require(whole, f"accumulate={self.accumulate} must divide batch_size={self.batch_size}")
        _require(0 <= self.ema_decay < 1, f"ema_decay={self.ema_decay} must lie in 0..1")
        _require(0 <= self.drop_path < 1, f"drop_path={self.drop_path} must lie in 0..1")


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """What a study varies on a recipe. The gate "none" is the plain backbone.

    Args:
        gates: Names of gates.
        models: Backbones; empty for the recipe's own.
        sites: Where each gate sits.
        seeds: How many runs of each variant; they take run.seed, run.seed + 1, ...
        budget: The latency a gate may cost, as a multiple of the plain backbone's.
        margin: The smallest difference in accuracy that matters, in percentage points.
        options: Options of single gates, by the gate's name.
    """

    gates: tuple[str, ...]
    models: tuple[str, ...] = ()
    sites: tuple[str, ...] = ("block_end",)
    seeds: int = 3
    budget: float = 1.10
    margin: float = 0.5
    options: dict[str, dict[str, object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require(bool(self.gates), "gates is empty; name at least one")
        _require(bool(self.sites), "sites is empty; name at least one")
        _require(self.seeds > 0, f"seeds={self.seeds} must be 1 or more")
