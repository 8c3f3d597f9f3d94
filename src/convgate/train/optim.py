"""Optimiser and schedule of a recipe."""

from typing import Any

import torch
from timm.optim import param_groups_weight_decay  # type: ignore[attr-defined]
from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.scheduler.multistep_lr import MultiStepLRScheduler
from timm.scheduler.poly_lr import PolyLRScheduler
from timm.scheduler.scheduler import Scheduler
from timm.scheduler.step_lr import StepLRScheduler
from torch import nn

from convgate.train.groups import scaled_groups
from convgate.train.recipe import OptimizerSpec, ScheduleSpec
from convgate.train.warm_cosine import WarmCosine


def create_optimizer(
    spec: OptimizerSpec, model: nn.Module, *, fused: bool = True
) -> torch.optim.Optimizer:
    """Build the optimiser; one-dimensional parameters keep their weight unless ``decay_all``.

    Below a detector the backbone may have rates of its own.

    Args:
        spec: The recipe's section.
        model: Its ``no_weight_decay()``, where it has one, is respected.
        fused: Update all parameters in one kernel where torch has it (not with a grad scaler).
    """
    groups = _parameter_groups(spec, model)
    if spec.name == "adamw":
        betas = (spec.betas[0], spec.betas[1])
        return torch.optim.AdamW(groups, lr=spec.lr, betas=betas, eps=spec.eps, fused=fused)
    if spec.name == "sgd":
        return torch.optim.SGD(
            groups, lr=spec.lr, momentum=spec.momentum, nesterov=spec.nesterov, fused=fused
        )
    return torch.optim.RMSprop(
        groups, lr=spec.lr, momentum=spec.momentum, alpha=spec.alpha, eps=spec.eps
    )


def _parameter_groups(spec: OptimizerSpec, model: nn.Module) -> list[dict[str, Any]]:
    if spec.layer_decay != 1 or spec.backbone_scale != 1:
        return scaled_groups(spec, model)
    if spec.decay_all:
        trained = [p for p in model.parameters() if p.requires_grad]
        return [{"params": trained, "weight_decay": spec.weight_decay}]
    exempt: Any = getattr(model, "no_weight_decay", tuple)()
    return list(param_groups_weight_decay(model, spec.weight_decay, no_weight_decay_list=exempt))


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
