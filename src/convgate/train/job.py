"""The run of any task: train, continue what was interrupted, and leave the result."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from convgate import spec, storage
from convgate.errors import InputError
from convgate.tasks.task import Optimise, Task
from convgate.train.annotated import DetectionData
from convgate.train.callbacks import EpochSeed, LossGuard, OnEpoch, Recorder
from convgate.train.data import ImageData
from convgate.train.optim import create_optimizer, create_schedule
from convgate.train.progress import Bar, Lines
from convgate.train.recipe import Recipe
from convgate.train.record import (
    RESULT,
    E,
    R,
    Records,
    read_result_of,
    write_metrics,
    write_result,
)
from convgate.train.trainer import Epochs, process, quiet, run_trainer

__all__ = ["Job", "carry_out", "check_free"]

RECIPE = "recipe.toml"
_KEPT = ("top1", "scores")  # of the last epoch, in the description of the weights


@dataclass(frozen=True)
class Job:
    """The data and the network of a run, and the module that trains it."""

    data: ImageData | DetectionData
    model: nn.Module
    task: Callable[[Optimise], Task]
    in_chans: int


def carry_out(
    recipe: Recipe,
    out: Path,
    records: Records[E, R],
    open_job: Callable[[Recipe], Job],
    progress: bool | None,
    on_epoch: OnEpoch | None,
) -> R:
    """Run a recipe into a folder, continue it there, or return what it left; as `fit`.

    Args:
        recipe: The run.
        out: Its folder.
        records: What its epochs and its result are kept in.
        open_job: Opens the data and builds the network.
        progress: As in `fit`.
        on_epoch: As in `fit`.
    """
    check_free(recipe, out)
    finished = read_result_of(records, out)
    if finished is not None:
        return finished
    with quiet():
        job = open_job(recipe)
        _claim(recipe, out)
        done = _train(recipe, out, records, job, _display(progress, recipe), on_epoch)
        return _finish(recipe, out, records, job, done)


def check_free(recipe: Recipe, out: Path) -> None:
    """See that ``out`` is nobody's, or holds a run of this recipe.

    Raises:
        InputError: if it is another recipe's, or not a folder.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; choose a folder for the run")
    if not (out / storage.LAST).exists() and not (out / RESULT).exists():
        return
    if not (out / RECIPE).is_file():
        raise InputError(f"{out}: holds a checkpoint but no {RECIPE}; choose another folder")
    if not recipe.describes_same_run(spec.load(Recipe, out / RECIPE)):
        raise InputError(f"{out}: holds a run of another recipe; choose another folder")


def _claim(recipe: Recipe, out: Path) -> None:
    if process().rank == 0:
        out.mkdir(parents=True, exist_ok=True)
        storage.write_text(out / RECIPE, spec.dump(recipe))


def _train(
    recipe: Recipe,
    out: Path,
    records: Records[E, R],
    job: Job,
    display: Sequence[Lines],
    on_epoch: OnEpoch | None,
) -> Sequence[E]:
    last = out / storage.LAST
    earlier = storage.load_checkpoint(last)[storage.STATE] if last.is_file() else {}
    done = [records.epoch(**record) for record in earlier.get("records", [])]
    if len(done) >= recipe.schedule.epochs:
        return done
    if recipe.run.compile:
        job.model.compile()
    task = job.task(_optimise(recipe, len(job.data.train)))
    heard = [*(shown.on_epoch for shown in display), *([on_epoch] if on_epoch else [])]
    guard = LossGuard(out)
    recorder = Recorder(out, guard, records.epoch, done, {"recipe": spec.dump(recipe)}, heard)
    callbacks = [EpochSeed(recipe.run.seed), guard, *_ema(recipe), *display, recorder]
    loaders = (Epochs(job.data.train), job.data.val)
    resume = last if done else None
    run_trainer(recipe.run, recipe.schedule.epochs, task, loaders, callbacks, resume)
    return cast(list[E], recorder.records)


def _optimise(recipe: Recipe, batches: int) -> Optimise:
    updates = -(-batches // recipe.run.accumulate)
    run = recipe.run
    # A fused update unscales by itself, before Lightning's clipping in mixed precision could look.
    fused = run.dtype == "float32" or (run.dtype == "bfloat16" and not run.clip_grad)

    def optimise(network: nn.Module) -> tuple[torch.optim.Optimizer, Any]:
        optimizer = create_optimizer(recipe.optimizer, network, fused=fused)
        return optimizer, create_schedule(recipe.schedule, optimizer, updates_per_epoch=updates)

    return optimise


def _ema(recipe: Recipe) -> list[WeightAveraging]:
    decay = recipe.run.ema_decay
    if not decay:
        return []
    return [WeightAveraging(multi_avg_fn=get_ema_multi_avg_fn(decay))]  # type: ignore[no-untyped-call]


def _display(progress: bool | None, recipe: Recipe) -> list[Lines]:
    if progress is False or process().rank:
        return []
    epochs = recipe.schedule.epochs
    lines = Lines(epochs)
    return [Bar(epochs)] if progress or lines.console.is_terminal else [lines]


def _finish(recipe: Recipe, out: Path, records: Records[E, R], job: Job, done: Sequence[E]) -> R:
    """Export the weights and write the result, from the last checkpoint alone."""
    scores, data = done[-1].final(), job.data
    result = records.result(
        **scores,
        epochs=tuple(done),
        params=sum(p.numel() for p in job.model.parameters()),
        classes=tuple(data.classes),
        train_images=data.train_images,
        val_images=data.val_images,
        skipped=len(data.skipped),
        seconds=sum(record.seconds for record in done),
        out=out,
    )
    if process().rank == 0:
        state = storage.load_checkpoint(out / storage.LAST)
        portable = replace(recipe, data=replace(recipe.data, path=None))
        metadata = {
            "recipe": spec.dump(portable),
            "classes": json.dumps(data.classes),
            "in_chans": str(job.in_chans),
            **_statistics(data),
            **{name: json.dumps(score) for name, score in scores.items() if name in _KEPT},
        }
        weights = storage.network_weights(state)
        storage.save_weights(out / storage.WEIGHTS, weights, metadata)
        write_metrics(out, done)
        write_result(result)
    return result


def _statistics(data: ImageData | DetectionData) -> dict[str, str]:
    if isinstance(data, DetectionData):  # detectors normalise by themselves
        return {}
    return {"mean": json.dumps(data.mean), "std": json.dumps(data.std)}
