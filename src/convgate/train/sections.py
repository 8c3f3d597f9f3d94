"""The sections of a recipe, with the values that each may take."""

import math
from dataclasses import dataclass, field
from typing import Literal

from timm.optim import list_optimizers  # type: ignore[attr-defined]

from convgate.errors import InputError, unknown


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise InputError(rule)


@dataclass(frozen=True, kw_only=True)
class LrScale:
    """Factors on the rate, by part of the network."""

    head: float = 1.0  # a classifier's last layer, or the whole detector on a backbone
    gates: float = 1.0  # the gates that were inserted
    backbone: float = 1.0  # all else

    def __post_init__(self) -> None:
        for part, factor in vars(self).items():
            _require(0 < factor < math.inf, f"{part}={factor} must be above 0; see [trainable]")


@dataclass(frozen=True, kw_only=True)
class TrainableSpec:
    """What is trained; the rest keeps its weights and statistics, and drops nothing out."""

    # the parts that are trained; "norms" are those of the backbone, without the rest of it
    parts: tuple[Literal["head", "gates", "norms", "backbone"], ...] = ("head", "gates", "backbone")
    # so many feature stages of the backbone, and all before them, are not; gates there are
    frozen_stages: int = 0
    # keep the running statistics of the backbone's batch norms, also where these are trained
    frozen_statistics: bool = False

    def __post_init__(self) -> None:
        _require(bool(self.parts), "parts is empty; name at least one of head, gates, backbone")
        stages = self.frozen_stages
        _require(stages >= 0, f"frozen_stages={stages} must be 0 or more")
        whole = stages == 0 or "backbone" in self.parts
        _require(whole, f"frozen_stages={stages}: the whole backbone is frozen; leave it out")


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec:
    """An optimizer of timm's; a key that it does not have is not passed on."""

    name: str  # timm's name for it: "sgd", "adamw", "rmsprop" and others
    lr: float  # the highest rate of the run, that of one update of ``run.batch_size`` pictures
    weight_decay: float = 0.0  # weight decay; of biases and norms only with ``decay_all``
    momentum: float = 0.9  # momentum of "sgd", "rmsprop" and others like them
    nesterov: bool = False  # let the momentum of "sgd" look one step ahead
    # decay of the two running means of "adamw" and others like it
    betas: tuple[float, float] = (0.9, 0.999)
    alpha: float = 0.9  # decay of the running mean of squares of "rmsprop"
    eps: float = 1e-8  # added to a denominator of "adamw", "rmsprop" and others
    decay_all: bool = False  # decay biases and the weights of norms as well
    # factors on the rate of "head", inserted "gates" and "backbone", such as { head = 20.0 }
    lr_scale: LrScale = field(default_factory=LrScale)
    # factor on the rate of each layer of the backbone, once for every layer above it; head and
    # gates are new and keep their rate
    layer_decay: float = 1.0
    options: dict[str, object] = field(default_factory=dict)  # further options, as timm has them

    def __post_init__(self) -> None:
        if self.name not in list_optimizers():
            raise unknown("optimizer", self.name, map(str, list_optimizers()))
        _require(0 < self.lr < math.inf, f"lr={self.lr} must be above 0 and finite")
        decay = self.weight_decay
        _require(0 <= decay < math.inf, f"weight_decay={decay} must be 0 or more, and finite")
        _require(0 <= self.momentum < 1, f"momentum={self.momentum} must lie in 0..1, without 1")
        looks = not (self.nesterov and self.name == "sgd" and self.momentum == 0)
        _require(
            looks, "nesterov looks ahead along a momentum; set it to false, or momentum above 0"
        )
        rule = f"layer_decay={self.layer_decay} must lie above 0 and up to 1"
        _require(0 < self.layer_decay <= 1, rule)


@dataclass(frozen=True, kw_only=True)
class ScheduleSpec:
    """The rate over the run: a warm-up, linear if not said otherwise, then as ``name`` says."""

    # "cosine" falls to ``min_lr``, "poly" by (1 - t)^``power``, "step" by ``gamma`` at
    # ``milestones`` or every ``step_epochs``; "yolox" warms up by the square and falls along a
    # cosine until it closes
    name: Literal["cosine", "step", "poly", "yolox"]
    epochs: int  # number of epochs; each ends with a score and a checkpoint
    epoch_updates: int = 0  # updates that make an epoch; 0 for one pass over the pictures
    warmup_epochs: int = 0  # epochs in which the rate rises from ``warmup_lr``
    warmup_updates: int = 0  # the same, counted in updates; only one of the two may be set
    warmup_lr: float = 0.0  # the rate at the first update of a warm-up
    min_lr: float = 0.0  # the rate at which "cosine", "poly" and "yolox" end
    milestones: tuple[int, ...] = ()  # epochs after which "step" multiplies the rate by ``gamma``
    step_epochs: float = 0.0  # epochs between two steps, where there are no ``milestones``
    gamma: float = 0.1  # factor on the rate at each step of "step"
    power: float = 1.0  # exponent of "poly"
    # last epochs of "yolox", at ``min_lr``: without mosaics, and with the loss that YOLOX keeps for
    # them
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
    """How the run is carried out."""

    batch_size: int  # pictures of one update, over all processes and accumulated passes
    accumulate: int = 1  # passes that make one update; raise it until a pass fits the memory
    seed: int = 0  # what first weights, order and augmentation are drawn from
    # number type of the passes; the weights stay float32
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    channels_last: bool = False  # keep maps as (N, H, W, C), which many processors are faster with
    compile: bool = False  # train with torch.compile
    # decay of a running mean of the weights, which is then what is scored and kept; 0 for none
    ema_decay: float = 0.0
    # let that decay rise with the updates u as (1 + u) / (10 + u) up to ``ema_decay``, so that the
    # mean of a short run forgets where it started
    ema_warmup: bool = False
    # probability of leaving out the last block of a network that can; rising to it with depth
    drop_path: float = 0.0
    clip_grad: float = 0.0  # longest norm that all gradients together may have; 0 for any
    sync_batchnorm: bool = False  # take batch statistics over all processes

    def __post_init__(self) -> None:
        _require(self.batch_size > 0, f"batch_size={self.batch_size} must be 1 or more")
        whole = self.accumulate > 0 and self.batch_size % self.accumulate == 0
        _require(whole, f"accumulate={self.accumulate} must divide batch_size={self.batch_size}")
        _require(0 <= self.ema_decay < 1, f"ema_decay={self.ema_decay} must lie in 0..1")
        _require(0 <= self.drop_path < 1, f"drop_path={self.drop_path} must lie in 0..1")
        _require(self.seed >= 0, f"seed={self.seed} must be 0 or more")
        clip = self.clip_grad
        _require(0 <= clip < math.inf, f"clip_grad={clip} must be 0 (no limit) or more, and finite")


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
