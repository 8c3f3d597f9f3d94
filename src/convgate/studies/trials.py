"""The study's trials in an Optuna storage, shared by processes and safe against their death.

A cell of the grid is a trial. Whoever trains it holds a file lock, which the system frees when
the process ends for whatever reason; a running trial whose lock is free is therefore dead, and
goes back into the queue. Every change of a trial's state happens under one lock of the folder,
because SQLite alone lets two readers take the same waiting trial.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, TrialState

from convgate.errors import InputError
from convgate.studies.grid import Cell, Variant, unique
from convgate.studies.network import Network, filled, read_network, write_network
from convgate.studies.trial_records import (
    PATIENCE_S,
    Record,
    check_network,
    full_disk_named,
    open_study,
    read_trial,
    recipe_changes,
)


@dataclass(frozen=True)
class Job:
    """A cell that this process trains, and the lock that says so."""

    cell: Cell
    options: dict[str, Any]
    network: Network | None
    trial: optuna.Trial
    lock: FileLock


class Store:
    """The trials of one study folder.

    Args:
        folder: The study's folder; `study.db` and `locks` lie in it.
        url: Another storage that Optuna knows, such as a PostgreSQL address.

    Raises:
        CorruptFile: if `study.db` is no Optuna storage.
    """

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder = folder
        (folder / "locks").mkdir(parents=True, exist_ok=True)
        self.gate = FileLock(folder / "locks" / "study.lock", timeout=PATIENCE_S)
        with self._change():
            self.study = open_study(url or f"sqlite:///{folder / 'study.db'}", folder)

    def plan(self, cells: Iterable[Cell], recipe: str, networks: Mapping[Variant, Network]) -> None:
        """Queue the cells that the study does not have yet.

        Args:
            cells: The grid.
            recipe: Text that is the same for the same recipe.
            networks: What each variant builds.

        Raises:
            InputError: if the study was started with another recipe, or a cell is another network.
        """
        with self._change():
            known = self.study.user_attrs.get("recipe")
            if known is None:
                self.study.set_user_attr("recipe", recipe)
            elif known != recipe and filled(known) != recipe:
                changes = recipe_changes(known, recipe)
                raise InputError(
                    f"{self.folder} holds a study of another recipe ({changes});"
                    " give another folder to --out"
                )
            have = self._latest()
            for cell in unique(cells):
                wanted = networks[cell.variant]
                if cell not in have:
                    self._queue(cell, write_network(wanted))
                else:
                    check_network(self.folder, cell, have[cell], wanted)

    def take(self) -> Job | None:
        """Return the next waiting cell, now this process's own; None where none waits."""
        with self._change():
            self._mend()
            if not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                return None
            trial = self.study.ask()
            cell = Cell.from_dict(trial.user_attrs["cell"])
            lock = self._lock(cell)
            lock.acquire(timeout=PATIENCE_S)
            known = trial.user_attrs
            return Job(cell, known["options"], read_network(known), trial, lock)

    def finish(self, job: Job, top1: float, outcome: dict[str, Any]) -> None:
        """Record the value of a trained cell."""
        with self._change():
            for epoch in outcome["epochs"]:
                job.trial.report(epoch["top1"], epoch["epoch"])
            job.trial.set_user_attr("outcome", outcome)
            self.study.tell(job.trial, top1)
            job.lock.release()

    def fail(self, job: Job, note: str) -> None:
        """Record why a cell has no value; the same command does not train it again."""
        with self._change():
            job.trial.set_user_attr("note", note)
            self.study.tell(job.trial, state=TrialState.FAIL)
            job.lock.release()

    def give_back(self, job: Job) -> None:
        """Queue a cell again that this process leaves unfinished."""
        with self._change():
            self.study.tell(job.trial, state=TrialState.FAIL)
            self._queue_unexplained()
            job.lock.release()

    def mend(self) -> int:
        """Queue the cells again whose process has died; return how many."""
        with self._change():
            return self._mend()

    def records(self) -> list[Record]:
        """Return what is known of each cell, in the order in which they were queued."""
        latest = self._latest()
        return [read_trial(cell, trial) for cell, trial in latest.items()]

    def stamp(self) -> int:
        """Return a number that grows with every trial queued: what a report is a report of."""
        return len(self.study.get_trials(deepcopy=False))

    def run_folder(self, cell: Cell) -> Path:
        """Return the folder that a cell is trained into."""
        return self.folder / "trials" / cell.folder

    def report_lock(self) -> FileLock:
        """Return the lock that the process holds which writes the report."""
        return FileLock(self.folder / "locks" / "report.lock")

    def _mend(self) -> int:
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        dead = [t for t in running if self._is_free(Cell.from_dict(t.user_attrs["cell"]))]
        for trial in dead:
            self.study.tell(trial.number, state=TrialState.FAIL)
        self._queue_unexplained()
        return len(dead)

    def _queue_unexplained(self) -> None:
        """Queue each cell whose last trial ended without a reason: its process was stopped."""
        for cell, trial in self._latest().items():
            if trial.state is TrialState.FAIL and "note" not in trial.user_attrs:
                known = ("options", "network")
                self._queue(cell, {k: v for k, v in trial.user_attrs.items() if k in known})

    def _queue(self, cell: Cell, network: dict[str, Any]) -> None:
        self.study.enqueue_trial({}, {"cell": cell.to_dict()} | network)

    def _latest(self) -> dict[Cell, FrozenTrial]:
        trials = self.study.get_trials(deepcopy=False)
        return {Cell.from_dict(t.user_attrs["cell"]): t for t in trials}

    def _lock(self, cell: Cell) -> FileLock:
        path = self.folder / "locks" / f"{cell.folder}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path)

    def _is_free(self, cell: Cell) -> bool:
        try:
            with self._lock(cell).acquire(blocking=False):
                return True
        except Timeout:
            return False

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        with self.gate, full_disk_named(self.folder):
            yield
