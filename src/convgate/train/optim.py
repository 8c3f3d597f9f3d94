"""Optimiser and schedule of a recipe: timm's, but for YOLOX's schedule and a detector's groups.

YOLOX's schedule: "YOLOX: Exceeding YOLO Series in 2021", Ge et al. 2021,
https://arxiv.org/abs/2107.08430. timm groups layers by each classifier's own depth; ConvNeXt's
detectors count them otherwise, and a detector has parts that no classifier has.
"""

import math
import re
from collections import defaultdict
from typing import Any

import torch
from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]
from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.scheduler.multistep_lr import MultiStepLRScheduler
from timm.scheduler.poly_lr import PolyLRScheduler
from timm.scheduler.scheduler import Scheduler
from timm.scheduler.step_lr import StepLRScheduler
from torch import nn

from convgate.errors import InputError
from convgate.tasks.backbone import Backbone
from convgate.train.recipe import Recipe
from convgate.train.sections import OptimizerSpec, ScheduleSpec

_STAGE = re.compile(r"(?:stages\.|layers\.|layer)(\d+)\.(?:(?:blocks\.)?(\d+)\.)?")
_TOGETHER = 3  # blocks of the third stage that count as one layer


def create_optimisation(
    recipe: Recipe, batches: int, model: nn.Module
) -> tuple[torch.optim.Optimizer, Scheduler]:
    """Build the optimiser and the schedule of a run with so many batches an epoch."""
    run = recipe.run
    # A fused update unscales by itself, before Lightning's clipping in mixed precision could look.
    fused = run.dtype == "float32" or (run.dtype == "bfloat16" and not run.clip_grad)
    optimizer = create_optimizer(recipe.optimizer, model, fused=fused)
    updates = -(-batches // run.accumulate)
    return optimizer, create_schedule(recipe.schedule, optimizer, updates_per_epoch=updates)


def create_optimizer(
    spec: OptimizerSpec, model: nn.Module, *, fused: bool = True
) -> torch.optim.Optimizer:
    """Build the optimiser; one-dimensional parameters keep their weight unless ``decay_all``.

    Below a detector the backbone may have rates of its own.
    """
    own: dict[str, dict[str, Any]] = {
        "adamw": {"fused": fused},
        "sgd": {"fused": fused, "nesterov": spec.nesterov},
        "rmsprop": {"alpha": spec.alpha},
    }
    scaled = spec.layer_decay != 1 or spec.backbone_scale != 1
    detects = any(isinstance(part, Backbone) for part in model.modules())
    groups: list[dict[str, Any]] | None = None
    if scaled and (detects or spec.backbone_scale != 1):
        groups = scaled_groups(spec, model)
    elif spec.decay_all and not scaled:
        trained = [p for p in model.parameters() if p.requires_grad]
        groups = [{"params": trained, "weight_decay": spec.weight_decay}]
    try:
        return create_optimizer_v2(
            model if groups is None else groups,
            opt=spec.name,
            lr=spec.lr,
            weight_decay=spec.weight_decay,
            momentum=spec.momentum,
            betas=(spec.betas[0], spec.betas[1]),
            eps=spec.eps,
            filter_bias_and_bn=not spec.decay_all,
            layer_decay=spec.layer_decay if spec.layer_decay != 1 else None,
            **own.get(spec.name, {}) | spec.options,
        )
    except (TypeError, ValueError) as error:
        raise InputError(
            f"optimizer.name={spec.name!r}: {str(error).partition(chr(10))[0]}"
        ) from error


def scaled_groups(spec: OptimizerSpec, model: nn.Module) -> list[dict[str, Any]]:
    """Group by ``backbone_scale`` and ``layer_decay``, the detector's own parameters first.

    The schedule multiplies its rate by each group's ``lr_scale``. Vectors are not decayed, unless
    ``decay_all``.
    """
    found = [(name, part) for name, part in model.named_modules() if isinstance(part, Backbone)]
    if len(found) != 1:
        raise InputError(
            "optimizer.layer_decay and backbone_scale need a backbone below a detector"
        )
    path, backbone = found[0]
    body = f"{path}.body."
    scales = layer_scales(backbone.body, spec.layer_decay) if spec.layer_decay != 1 else {}
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        inside = name.startswith(body)
        scale = scales.get(name.removeprefix(body), 1.0) * spec.backbone_scale if inside else 1.0
        decayed = spec.decay_all or (parameter.ndim > 1 and not name.endswith(".bias"))
        groups[scale, spec.weight_decay if decayed else 0.0].append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "lr_scale": scale}
        for (scale, decay), parameters in sorted(groups.items(), key=lambda item: -item[0][0])
    ]


def layer_scales(body: nn.Module, decay: float) -> dict[str, float]:
    """Return each parameter's factor: ``decay`` to the power of the layers above it.

    The stem is layer 0, stages 1 and 2 are layers 1 and 2, three blocks of stage 3 make a layer,
    and stage 4 is the last below the detector; what leads into a stage belongs to its first layer.
    Source: facebookresearch/ConvNeXt, object_detection: 6 layers for T, 12 for S and B.
    """
    places = {name: _place(name) for name, _ in body.named_parameters()}
    first = min((stage for stage, _ in filter(None, places.values())), default=0)
    placed = {name: (p[0] - first, p[1]) if p else None for name, p in places.items()}
    stages = {place[0] for place in placed.values() if place}
    if stages != {0, 1, 2, 3}:
        raise InputError(
            f"optimizer.layer_decay: {type(body).__name__} is not built of four stages; set it to 1"
        )
    depth = 1 + max(block for stage, block in filter(None, placed.values()) if stage == 2)
    last = 3 + -(-depth // _TOGETHER)
    return {name: decay ** (last + 1 - _layer(place, last)) for name, place in placed.items()}


def _place(name: str) -> tuple[int, int] | None:
    """Return stage and block of a parameter; None for one of the stem."""
    match = _STAGE.match(name)
    return (int(match[1]), int(match[2] or 0)) if match else None


def _layer(place: tuple[int, int] | None, last: int) -> int:
    if place is None:
        return 0
    stage, block = place
    return last if stage == 3 else stage + 1 + (block // _TOGETHER if stage == 2 else 0)


def create_schedule(
    spec: ScheduleSpec, optimizer: torch.optim.Optimizer, *, updates_per_epoch: int
) -> Scheduler:
    """Build a schedule counted in updates: call ``step_update(n)`` after the n-th update."""
    updates = updates_per_epoch
    if spec.name == "yolox":
        return WarmCosine(
            optimizer,
            updates=spec.epochs * updates,
            warmup=spec.warmup_epochs * updates + spec.warmup_updates,
            closing=spec.closing_epochs * updates,
            start=spec.warmup_lr,
            least=spec.min_lr,
        )
    shared: dict[str, Any] = {
        "warmup_t": spec.warmup_epochs * updates + spec.warmup_updates,
        "warmup_lr_init": spec.warmup_lr,
        "warmup_prefix": False,  # the warm-up is a part of the epochs, not added to them
        "t_in_epochs": False,
    }
    if spec.name == "cosine":
        return CosineLRScheduler(
            optimizer, t_initial=spec.epochs * updates, lr_min=spec.min_lr, **shared
        )
    if spec.name == "poly":
        return PolyLRScheduler(
            optimizer,
            t_initial=spec.epochs * updates,
            power=spec.power,
            lr_min=spec.min_lr,
            **shared,
        )
    if spec.milestones:  # timm applies a milestone one update before it
        at = [milestone * updates + 1 for milestone in spec.milestones]
        return MultiStepLRScheduler(optimizer, decay_t=at, decay_rate=spec.gamma, **shared)
    every = spec.step_epochs * updates
    return StepLRScheduler(optimizer, decay_t=every, decay_rate=spec.gamma, **shared)


class WarmCosine(Scheduler):
    """A warm-up by the square, a cosine from its end on, and a rest at the least rate.

        t <= w:          r0 + (r - r0) (t / w)^2
        w < t < T - c:   m + (r - m) (1 + cos(pi (t - w) / (T - w - c))) / 2
        T - c <= t:      m

    Source: arXiv 2107.08430, section 2.1; as in Megvii-BaseDetection/YOLOX,
        yolox/utils/lr_scheduler.py, "yoloxwarmcos".

    Args:
        optimizer: Its groups' rates are r.
        updates: T.
        warmup: w, in updates.
        closing: c, in updates.
        start: r0.
        least: m.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        updates: int,
        warmup: int,
        closing: int,
        start: float,
        least: float,
    ) -> None:
        super().__init__(optimizer, param_group_field="lr", t_in_epochs=False)
        self.warmup, self.falling = warmup, updates - warmup - closing
        self.start, self.least = start, least
        self.update_groups(self._get_lr(0))

    def _get_lr(self, t: int) -> list[float]:
        return [self._rate(t, most) for most in self.base_values]

    def _rate(self, t: int, most: float) -> float:
        if t < self.warmup:
            return self.start + (most - self.start) * (t / self.warmup) ** 2
        if t >= self.warmup + self.falling:
            return self.least
        angle = math.pi * (t - self.warmup) / self.falling
        return self.least + (most - self.least) * (1 + math.cos(angle)) / 2
