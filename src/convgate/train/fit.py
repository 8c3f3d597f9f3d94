"""Recipe in, trained weights and result out; the same call continues what was interrupted."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from convgate import spec
from convgate.errors import InputError
from convgate.insertion import measure_movement
from convgate.networks.adapter import save_adapter
from convgate.networks.card import save_network
from convgate.storage import (
    ADAPTER,
    LAST,
    RECIPE,
    RESULT,
    STATE,
    WEIGHTS,
    load_checkpoint,
    network_weights,
    write_text,
)
from convgate.train.callbacks import EpochSeed, LossGuard, OnEpoch, Recorder
from convgate.train.job import Job, open_job
from convgate.train.parts import trained_tensors
from convgate.train.progress import Bar, Lines
from convgate.train.recipe import Recipe
from convgate.train.record import (
    METRICS,
    EpochRecord,
    RunResult,
    read_result,
    write_metrics,
    write_result,
)
from convgate.train.trainer import Epochs, process, quiet, run_trainer

_WRITTEN = (LAST, RESULT, WEIGHTS, ADAPTER, METRICS, "tensorboard")
_LENGTH = {"schedule.epochs", "schedule.warmup_epochs", "schedule.closing_epochs"}

MOVED_IMAGES = 64
"""Validation pictures on which a finished run is asked how far its gates moved."""


def fit(
    recipe: Recipe,
    out: str | Path,
    *,
    model: nn.Module | None = None,
    progress: bool | None = None,
    on_epoch: OnEpoch | None = None,
) -> RunResult:
    """Train what ``recipe`` describes - a classifier, detector or segmenter - into a folder.

    A folder that holds a checkpoint of the same recipe is continued, bit for bit as if it had
    never stopped (on a CPU); one that holds its finished result returns that at once. A run whose
    schedule does not depend on the number of epochs can be prolonged by a recipe with more of them.
    Under `torchrun` the processes share each batch. Detection's annotations are all checked before
    the first step.

    Args:
        recipe: The run.
        out: Gets recipe.toml, last.ckpt, metrics.csv, tensorboard/, and at the end
            weights.safetensors and result.json; also adapter.safetensors, without what was frozen,
            where a whole pretrained backbone was.
        model: A classifier that you built, gates and all, to train in the place of the recipe's
            model and gate; its weights are where it starts.
        progress: True for a bar, False for silence, None for a bar on a terminal and one line an
            epoch elsewhere.
        on_epoch: Called after each epoch, once its checkpoint is on the disk.

    Raises:
        InputError: if ``out`` holds another run or files that are none, the data, the recipe or
            the model is wrong, or the loss is no longer finite (the last good checkpoint stays).
        KeyboardInterrupt: on Ctrl-C or SIGTERM; the run can be continued.
    """
    folder = Path(out)
    check_folder(recipe, folder)
    finished = read_result(folder)
    if finished is not None and len(finished.epochs) >= recipe.schedule.epochs:
        return finished
    with quiet():
        job = open_job(recipe, model)
        if process().rank == 0:
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / RECIPE, spec.dump(recipe))
        display = _display(progress, recipe)
        return _finish(job, folder, *_train(job, folder, display, on_epoch))


def check_folder(recipe: Recipe, out: Path) -> None:
    """See that ``out`` is free, or holds a run of this recipe or a shorter one of it."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; choose a folder for the run")
    if not (out / RECIPE).is_file():
        found = next((name for name in _WRITTEN if (out / name).exists()), None)
        if found:
            raise InputError(
                f"{out}: holds a {found} but no {RECIPE}, so it is no run of ours; choose another "
                "folder"
            )
        return
    stored = spec.load(Recipe, out / RECIPE)
    changes = spec.changes(stored.fingerprint(), recipe.fingerprint())
    if not changes:
        return
    if "schedule.epochs" in changes and changes.keys() <= _LENGTH:
        _check_prolonged(stored, recipe, out)
        return
    raise InputError(
        f"{out}: holds a run of another recipe ({spec.show_changes(changes)}); choose another "
        "folder"
    )


def _check_prolonged(stored: Recipe, recipe: Recipe, out: Path) -> None:
    """Ask that more epochs go on where the run ended, as if it had always had them."""
    was, now = stored.schedule.epochs, recipe.schedule.epochs
    same = (stored.schedule.warmup_epochs, stored.schedule.closing_epochs)
    if recipe.schedule.name != "step" or same != (
        recipe.schedule.warmup_epochs,
        recipe.schedule.closing_epochs,
    ):
        raise InputError(
            f"{out}: holds a run of {_epochs(was)}, and with {now} its schedule "
            f"({recipe.schedule.name}) would have had other rates from the first on; choose "
            f"another folder, or start anew from its {WEIGHTS} (--model)"
        )
    if now < was:
        raise InputError(
            f"{out}: holds a run of {_epochs(was)}, more than {now}; choose another folder"
        )


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"


def _train(
    job: Job, out: Path, display: Sequence[Lines], on_epoch: OnEpoch | None
) -> tuple[Sequence[EpochRecord], dict[str, float]]:
    """Train what is left to train; return all epochs, and the scores before the first step."""
    recipe, last = job.recipe, out / LAST
    earlier = load_checkpoint(last)[STATE] if last.is_file() else {}
    done = [EpochRecord(**record) for record in earlier.get("records", [])]
    before = earlier.get("before", {})
    if len(done) >= recipe.schedule.epochs:
        return done, before
    if recipe.run.compile:
        job.model.compile()
    listeners = [*(shown.on_epoch for shown in display), *([on_epoch] if on_epoch else [])]
    guard = LossGuard(out)
    recorder = Recorder(out, guard, done, before, {"recipe": spec.dump(recipe)}, listeners)
    callbacks = [EpochSeed(recipe.run.seed), guard, *_ema(recipe), *display, recorder]
    loaders = (Epochs(job.data.train), job.data.val)
    resume = last if done else None
    epochs, task, first = recipe.schedule.epochs, job.task(), job.learned and not done
    run_trainer(recipe.run, epochs, task, loaders, callbacks, resume, score_first=first)
    return recorder.records, recorder.before


def _ema(recipe: Recipe) -> list[WeightAveraging]:
    run = recipe.run
    if not run.ema_decay:
        return []
    return [WeightAveraging(multi_avg_fn=partial(_average, run.ema_decay, run.ema_warmup))]


def _average(
    decay: float, rising: bool, averaged: Any, current: Any, updates: Tensor | int
) -> None:
    """Move the averaged tensors towards the current ones, in place."""
    now = min(decay, (1 + int(updates)) / (10 + int(updates))) if rising else decay
    get_ema_multi_avg_fn(now)(averaged, current, updates)  # type: ignore[no-untyped-call]


def _display(progress: bool | None, recipe: Recipe) -> list[Lines]:
    if progress is False or process().rank:
        return []
    epochs = recipe.schedule.epochs
    lines = Lines(epochs)
    return [Bar(epochs)] if progress or lines.console.is_terminal else [lines]


def _finish(
    job: Job, out: Path, done: Sequence[EpochRecord], before: dict[str, float]
) -> RunResult:
    """Write the weights and the result, from the last checkpoint alone."""
    scores, data = done[-1].scores, job.data
    weights = network_weights(load_checkpoint(out / LAST))
    result = RunResult(
        scores=scores,
        epochs=tuple(done),
        before=before,
        moved=_moved(job, weights) if process().rank == 0 else {},
        started_from=job.origin,
        params=sum(p.numel() for p in job.model.parameters()),
        trained_params=sum(p.numel() for p in job.model.parameters() if p.requires_grad),
        classes=tuple(data.classes),
        train_images=data.train_images,
        val_images=data.val_images,
        skipped=len(data.skipped),
        seconds=sum(record.seconds for record in done),
        out=out,
    )
    if process().rank == 0:
        portable = replace(job.recipe, data=replace(job.recipe.data, path=None))
        card = replace(job.card, scores=scores, recipe=spec.dump(portable))
        save_network(out / WEIGHTS, weights, card)
        if job.base is not None:
            own = trained_tensors(job.model, job.recipe.trainable)
            save_adapter(out / ADAPTER, weights, card, own, job.base)
        write_metrics(out, done, before)
        write_result(result)
    return result


def _moved(job: Job, weights: dict[str, Tensor]) -> dict[str, float]:
    """Return how far the gates stand from the identity on the first validation pictures."""
    model = copy.deepcopy(job.model)  # without what was compiled, which looks for no more hooks
    model.load_state_dict(weights)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return measure_movement(model.to(device), _pictures(job, device))


def _pictures(job: Job, device: torch.device) -> Iterator[Any]:
    """Yield the first validation pictures as the task gives them to its network."""
    left = MOVED_IMAGES
    for x, _ in job.data.val:
        taken = x[:left]
        if not len(taken):
            return
        yield (
            taken.to(device) if isinstance(taken, Tensor) else [image.to(device) for image in taken]
        )
        left -= len(taken)
