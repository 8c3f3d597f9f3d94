"""The sections of a recipe, with the values that each may take."""

from dataclasses import dataclass, field
from typing import Literal

from timm.optim import list_optimizers  # type: ignore[attr-defined]

from convgate.errors import InputError, unknown


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise InputError(rule)


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec:
    """An optimiser of timm's, by its name there.

    ``decay_all`` also decays biases and norms, which are otherwise left alone. ``layer_decay``
    multiplies the rate of each layer of a classifier, or of a detector's backbone, once for every
    layer above it; under a detector, ``backbone_scale`` multiplies the backbone's rate. A key that
    an optimiser does not have is not passed on; ``options`` are its own.
    """

    name: str
    lr: float
    weight_decay: float = 0.0
    momentum: float = 0.9
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    alpha: float = 0.9
    eps: float = 1e-8
    decay_all: bool = False
    backbone_scale: float = 1.0
    layer_decay: float = 1.0
    options: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in list_optimizers():
            raise unknown("optimizer", self.name, map(str, list_optimizers()))
        _require(self.lr > 0, f"lr={self.lr} must be above 0")
        _require(self.weight_decay >= 0, f"weight_decay={self.weight_decay} must be 0 or more")
        for key, scale in (
            ("backbone_scale", self.backbone_scale),
            ("layer_decay", self.layer_decay),
        ):
            _require(0 < scale <= 1, f"{key}={scale} must lie above 0 and up to 1")


@dataclass(frozen=True, kw_only=True)
class ScheduleSpec:
    """The rate over the run: a warm-up, linear if not said otherwise, then as ``name`` says.

    "cosine" falls to ``min_lr``, "poly" by (1 - t)^``power``, "step" by ``gamma`` at ``milestones``
    or every ``step_epochs`` epochs; "yolox" warms up by the square, then falls along a cosine from
    there, and the last ``closing_epochs`` stay at ``min_lr``: without mosaics, and with the loss
    that YOLOX keeps for them. An epoch is one pass over the pictures, or
    ``epoch_updates`` updates where the schedule is counted in those. The warm-up lasts
    ``warmup_epochs``, or ``warmup_updates`` updates.
    """

    name: Literal["cosine", "step", "poly", "yolox"]
    epochs: int
    epoch_updates: int = 0
    warmup_epochs: int = 0
    warmup_updates: int = 0
    warmup_lr: float = 0.0
    min_lr: float = 0.0
    milestones: tuple[int, ...] = ()
    step_epochs: float = 0.0
    gamma: float = 0.1
    power: float = 1.0
    closing_epochs: int = 0

    def __post_init__(self) -> None:
        _require(self.epochs > 0, f"epochs={self.epochs} must be 1 or more")
        rule = f"warmup_epochs={self.warmup_epochs} must lie in 0..{self.epochs} (epochs)"
        _require(0 <= self.warmup_epochs <= self.epochs, rule)
        for key in ("epoch_updates", "warmup_updates"):
            _require(getattr(self, key) >= 0, f"{key}={getattr(self, key)} must be 0 or more")
        both = self.warmup_epochs > 0 and self.warmup_updates > 0
        _require(not both, "warmup_epochs and warmup_updates are both set; keep one")
        stepped = bool(self.milestones) or self.step_epochs > 0
        if self.name == "step":
            _require(stepped, "a step schedule needs milestones or step_epochs")
        rest = self.epochs - self.warmup_epochs
        rule = f"closing_epochs={self.closing_epochs} must lie in 0..{rest}, after the warm-up"
        _require(0 <= self.closing_epochs <= rest, rule)
        closes = self.closing_epochs == 0 or self.name == "yolox"
        _require(closes, f"closing_epochs is for the schedule yolox, not {self.name}")


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
    """What a study varies on a recipe. The gate "none" is the plain backbone."""

    gates: tuple[str, ...]  # names of gates
    models: tuple[str, ...] = ()  # backbones; empty for the recipe's own
    sites: tuple[str, ...] = ("block_end",)  # where each gate sits
    seeds: int = 3  # how many runs of each variant; they take run.seed and the numbers after it
    budget: float = 1.10  # the latency a gate may cost, as a multiple of the plain backbone's
    margin: float = 0.5  # the smallest difference in accuracy that matters, in percentage points
    # options of single gates, by the gate's name
    options: dict[str, dict[str, object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require(bool(self.gates), "gates is empty; name at least one")
        _require(bool(self.sites), "sites is empty; name at least one")
        _require(self.seeds > 0, f"seeds={self.seeds} must be 1 or more")
