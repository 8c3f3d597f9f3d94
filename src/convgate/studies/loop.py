"""The loop of a study: take a cell, train it, record it, say so, until none is left."""

import contextlib
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console

from convgate.errors import Diverged, printable
from convgate.measure import environment
from convgate.studies.grid import Cell, cell_recipe
from convgate.studies.tables import duration
from convgate.studies.trials import CellJob, CellLost, CellRecord, Trials
from convgate.train.recipe import Recipe
from convgate.train.record import RunResult


class Progress:
    """Prints one line a cell on standard error; silent for progress=False."""

    def __init__(self, progress: bool | None = None) -> None:
        self.progress = progress
        self.console = Console(stderr=True, highlight=False, quiet=progress is False)
        self.bar = progress is not False and self.console.is_terminal
        self._waits = False

    def say(self, line: str) -> None:
        self.console.print(printable(line), markup=False, soft_wrap=True)

    def settled(self, cell: Cell, records: Sequence[CellRecord]) -> None:
        """Say what a cell came to, and how long the rest will take."""
        self._waits = False
        mine = next(record for record in records if record.cell == cell)
        count = f"[{sum(r.settled for r in records)}/{len(records)}]"
        if mine.top1 is None:
            self.say(f"{count} {cell}: failed: {mine.note}")
        else:
            seconds = duration(mine.outcome["seconds"])
            self.say(f"{count} {cell}: {mine.top1:.2f} % in {seconds}{_remaining(records)}")

    def wait(self, records: Sequence[CellRecord]) -> None:
        """Say once that other processes train what is left."""
        if not self._waits:
            running = sum(record.state == "running" for record in records)
            what = "cell that another process trains" if running == 1 else "cells of others"
            self.say(f"waiting for {running} {what}")
        self._waits = True


def _remaining(records: Sequence[CellRecord]) -> str:
    """Return ", about 12 min left": mean time of a cell x cells left / processes at work."""
    times = [r.outcome["seconds"] for r in records if r.top1 is not None]
    left = sum(not record.settled for record in records)
    if not left or not times:
        return ""
    workers = 1 + sum(record.state == "running" for record in records)
    return f", about {duration(left * sum(times) / len(times) / workers)} left"


def train_cells(
    trials: Trials, recipe: Recipe, fit: Callable[..., RunResult], progress: Progress
) -> bool:
    """Train what waits, and wait for what others train; False if all was done before."""
    worked = False
    while True:
        job = trials.take()
        if job is not None:
            _train(job, trials, recipe, fit, progress)
        elif all(record.settled for record in trials.records()):
            return worked
        else:
            progress.wait(trials.records())
            time.sleep(trials.store.poll_s)
        worked = True


def _train(
    job: CellJob, trials: Trials, recipe: Recipe, fit: Callable[..., RunResult], progress: Progress
) -> None:
    chosen = cell_recipe(recipe, job.cell, job.spec)
    try:
        folder = trials.run_folder(job.cell)
        result = fit(chosen, folder, progress=progress.bar, on_epoch=lambda _: job.check())
        trials.finish(job, result.score, outcome_of(result))
    except CellLost:
        job.hold.release()
        progress.say(f"{job.cell}: this process was not heard of, and another one trains it now")
        return
    except Diverged as error:
        trials.fail(job, str(error))
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to show
            trials.give_back(job)
        raise
    progress.settled(job.cell, trials.records())


def outcome_of(result: RunResult) -> dict[str, Any]:
    """Return what the storage keeps of a run, in plain JSON types."""
    return {
        "epochs": [epoch.row() for epoch in result.epochs],
        "seconds": result.seconds,
        "classes": len(result.classes),
        "train_images": result.train_images,
        "val_images": result.val_images,
        "skipped": result.skipped,
        "moved": result.moved,
        "environment": environment(),
        "place": f"{platform.node()}:{result.out.absolute()}",
    }
