"""Recipe in, trained weights and result out; the same call continues what was interrupted."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from convgate import spec
from convgate.errors import InputError
from convgate.tasks.classify import Classifier
from convgate.train import checkpoint
from convgate.train.build import build_model, open_run_data
from convgate.train.callbacks import EpochSeed, LossGuard, OnEpoch, Recorder
from convgate.train.data import ImageData
from convgate.train.optim import create_optimizer, create_schedule
from convgate.train.progress import Bar, Lines
from convgate.train.recipe import Recipe
from convgate.train.record import (
    RESULT,
    EpochRecord,
    FitResult,
    read_result,
    write_metrics,
    write_result,
)
from convgate.train.trained import note_statistics
from convgate.train.trainer import Epochs, process, quiet, run_trainer

__all__ = ["build_model", "fit"]

RECIPE = "recipe.toml"


def fit(
    recipe: Recipe,
    out: str | Path,
    *,
    progress: bool | None = None,
    on_epoch: OnEpoch | None = None,
) -> FitResult:
    """Train what ``recipe`` describes into the folder ``out``.

    A folder that holds a checkpoint of the same recipe is continued, bit for bit as if it had
    never stopped (on a CPU); one that holds its finished result returns that at once. Under
    `torchrun` the processes share each batch.

    Args:
        recipe: The run.
        out: Gets recipe.toml, last.ckpt, metrics.csv, tensorboard/, and at the end
            weights.safetensors and result.json.
        progress: True for a bar, False for silence, None for a bar on a terminal and one line an
            epoch elsewhere.
        on_epoch: Called after each epoch, once its checkpoint is on the disk.

    Raises:
        InputError: if ``out`` holds another recipe's run, the data or the recipe is wrong, or the
            loss is no longer finite (the last good checkpoint stays).
        KeyboardInterrupt: on Ctrl-C or SIGTERM; the run can be continued.
    """
    out = Path(out)
    check_free(recipe, out)
    finished = read_result(out)
    if finished is not None:
        return finished
    with quiet():
        return _train(recipe, out, progress, [on_epoch] if on_epoch else [])


def check_free(recipe: Recipe, out: Path) -> None:
    """See that ``out`` is nobody's, or holds a run of this recipe.

    Raises:
        InputError: if it is another recipe's, or not a folder.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; choose a folder for the run")
    if not (out / checkpoint.LAST).exists() and not (out / RESULT).exists():
        return
    if not (out / RECIPE).is_file():
        raise InputError(f"{out}: holds a checkpoint but no {RECIPE}; choose another folder")
    if not recipe.describes_same_run(spec.load(Recipe, out / RECIPE)):
        raise InputError(f"{out}: holds a run of another recipe; choose another folder")


def _claim(recipe: Recipe, out: Path) -> None:
    if process().rank == 0:
        out.mkdir(parents=True, exist_ok=True)
        checkpoint.write_text(out / RECIPE, spec.dump(recipe))


def _train(
    recipe: Recipe, out: Path, progress: bool | None, listeners: Sequence[OnEpoch]
) -> FitResult:
    data = open_run_data(recipe)
    model = build_model(recipe, num_classes=len(data.classes), in_chans=data.in_chans)
    _claim(recipe, out)
    last = out / checkpoint.LAST
    earlier = checkpoint.load_checkpoint(last)[checkpoint.STATE] if last.is_file() else {}
    records = [EpochRecord(**record) for record in earlier.get("records", [])]
    if len(records) < recipe.schedule.epochs:
        task = _classifier(recipe, model, data)
        display = _display(progress, recipe.schedule.epochs)
        heard = [*(shown.on_epoch for shown in display), *listeners]
        guard = LossGuard(out)
        recorder = Recorder(out, guard, records, {"recipe": spec.dump(recipe)}, heard)
        callbacks = [EpochSeed(recipe.run.seed), guard, *_ema(recipe), *display, recorder]
        resume = last if records else None
        loaders = (Epochs(data.train), data.val)
        run_trainer(recipe.run, recipe.schedule.epochs, task, loaders, callbacks, resume)
        records = recorder.records
    return _finish(recipe, out, data, model, records)


def _classifier(recipe: Recipe, model: nn.Module, data: ImageData) -> Classifier:
    updates = -(-len(data.train) // recipe.run.accumulate)

    def optimise(network: nn.Module) -> tuple[torch.optim.Optimizer, Any]:
        fused = recipe.run.dtype != "float16"
        optimizer = create_optimizer(recipe.optimizer, network, fused=fused)
        return optimizer, create_schedule(recipe.schedule, optimizer, updates_per_epoch=updates)

    if recipe.run.compile:
        model.compile()
    return Classifier(
        model, len(data.classes), optimise=optimise, channels_last=recipe.run.channels_last
    )


def _ema(recipe: Recipe) -> list[WeightAveraging]:
    decay = recipe.run.ema_decay
    if not decay:
        return []
    return [WeightAveraging(multi_avg_fn=get_ema_multi_avg_fn(decay))]  # type: ignore[no-untyped-call]


def _display(progress: bool | None, epochs: int) -> list[Lines]:
    if progress is False or process().rank:
        return []
    lines = Lines(epochs)
    return [Bar(epochs)] if progress or lines.console.is_terminal else [lines]


def _finish(
    recipe: Recipe, out: Path, data: ImageData, model: nn.Module, records: Sequence[EpochRecord]
) -> FitResult:
    """Export the weights and write the result, from the last checkpoint alone."""
    end = records[-1]
    result = FitResult(
        top1=end.top1,
        top5=end.top5,
        val_loss=end.val_loss,
        epochs=tuple(records),
        params=sum(p.numel() for p in model.parameters()),
        classes=tuple(data.classes),
        train_images=data.train_images,
        val_images=data.val_images,
        skipped=len(data.skipped),
        seconds=sum(record.seconds for record in records),
        out=out,
    )
    if process().rank == 0:
        state = checkpoint.load_checkpoint(out / checkpoint.LAST)
        portable = replace(recipe, data=replace(recipe.data, path=None))
        metadata = {
            "recipe": spec.dump(portable),
            "classes": json.dumps(result.classes),
            "in_chans": str(data.in_chans),
            "top1": repr(result.top1),
            **note_statistics(data.mean, data.std),
        }
        weights = checkpoint.network_weights(state)
        checkpoint.save_weights(out / checkpoint.WEIGHTS, weights, metadata)
        write_metrics(out, records)
        write_result(result)
    return result
