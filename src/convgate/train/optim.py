"""Optimiser and schedule of a recipe: timm's, but for YOLOX's schedule.

YOLOX's schedule: "YOLOX: Exceeding YOLO Series in 2021", Ge et al. 2021,
https://arxiv.org/abs/2107.08430.
"""

import math
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
from convgate.train.groups import parameter_groups
from convgate.train.recipe import Recipe
from convgate.train.sections import OptimizerSpec, ScheduleSpec


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
    """Build the optimiser over the groups of `parameter_groups`."""
    own: dict[str, dict[str, Any]] = {
        "adamw": {"fused": fused},
        "sgd": {"fused": fused, "nesterov": spec.nesterov},
        "rmsprop": {"alpha": spec.alpha},
    }
    try:
        return create_optimizer_v2(
            parameter_groups(spec, model),
            opt=spec.name,
            lr=spec.lr,
            weight_decay=spec.weight_decay,
            momentum=spec.momentum,
            betas=(spec.betas[0], spec.betas[1]),
            eps=spec.eps,
            **own.get(spec.name, {}) | spec.options,
        )
    except (TypeError, ValueError) as error:
        raise InputError(
            f"optimizer.name={spec.name!r}: {str(error).partition(chr(10))[0]}"
        ) from error


def base_rate(optimizer: torch.optim.Optimizer) -> float:
    """Return the rate of the schedule, which every group multiplies by its own factor."""
    group = optimizer.param_groups[0]
    return float(group["lr"]) / float(group.get("lr_scale", 1.0))


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
