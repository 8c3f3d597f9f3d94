"""The training loop of a study: take a cell, train it, record it, until none is left."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from convgate.errors import Diverged
from convgate.measure import environment
from convgate.studies.network import cell_recipe, network_of
from convgate.studies.progress import Voice
from convgate.studies.trials import Job, Store
from convgate.train.recipe import Recipe
from convgate.train.record import FitResult

POLL_S = 0.5
"""How often a process with nothing to train looks whether another one has finished or died."""


def train_cells(store: Store, recipe: Recipe, fit: Callable[..., FitResult], voice: Voice) -> bool:
    """Train what waits, and wait for what others train; False if all was done before.

    Raises:
        KeyboardInterrupt: on Ctrl-C, after the cell went back into the queue.
        InputError: whatever else stops a run that has not diverged; the cell goes back too.
    """
    worked = False
    while True:
        job = store.take()
        if job is not None:
            _train(job, store, recipe, fit, voice)
        elif all(record.settled for record in store.records()):
            return worked
        else:
            voice.wait(store.records())
            time.sleep(POLL_S)
        worked = True


def _train(
    job: Job, store: Store, recipe: Recipe, fit: Callable[..., FitResult], voice: Voice
) -> None:
    chosen = cell_recipe(recipe, job.cell, network_of(recipe, job))
    try:
        result = fit(chosen, store.run_folder(job.cell), progress=voice.bar)
        store.finish(job, result.top1, outcome_of(result))
    except Diverged as error:
        store.fail(job, str(error))
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to show
            store.give_back(job)
        raise
    voice.settled(job.cell, store.records())


def outcome_of(result: FitResult) -> dict[str, Any]:
    """Return what the storage keeps of a run, in plain JSON types."""
    return {
        "epochs": [asdict(epoch) for epoch in result.epochs],
        "seconds": result.seconds,
        "classes": len(result.classes),
        "train_images": result.train_images,
        "val_images": result.val_images,
        "skipped": result.skipped,
        "environment": environment(),
    }
