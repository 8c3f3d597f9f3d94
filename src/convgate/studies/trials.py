"""The cells of a study as trials of Optuna, shared by processes and safe against their death.

A cell of the grid is a trial, and a cell that a process has left or died in is queued again as
another one. Where trials are kept, and how it is known who lives: `sqlite.py`, `postgres.py`.
"""

import contextlib
import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import optuna
from filelock import FileLock
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from convgate import spec
from convgate.errors import InputError
from convgate.studies.grid import Cell, Variant, VariantSpec, unique
from convgate.studies.postgres import PostgresStore, database_url
from convgate.studies.sqlite import SQLiteStore

T = TypeVar("T")


class CellLost(Exception):
    """This process was taken for dead, and its cell is now another one's."""


class Hold(Protocol):
    """That this process trains a cell, known to all others."""

    @property
    def lost(self) -> bool:
        """Whether the others have taken this process for dead."""

    def release(self) -> None: ...


class Store(Protocol):
    """Where trials are kept, and how processes agree on who changes them."""

    study: optuna.Study
    poll_s: float

    def alone(self, act: Callable[[], T], *, patient: bool = True) -> T: ...
    def read(self, act: Callable[[], T]) -> T: ...
    def hold(self, trial: FrozenTrial, cell: Cell) -> Hold: ...
    def fail_dead(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class CellRecord:
    """What the storage knows of one cell."""

    cell: Cell
    spec: VariantSpec  # what it builds
    state: str  # waiting, running, done or failed
    top1: float | None = None  # percent at the last epoch; None until done
    outcome: dict[str, Any] = field(default_factory=dict)  # what the run left
    note: str = ""  # why it failed, in one sentence

    @property
    def settled(self) -> bool:
        return self.state in ("done", "failed")


_STATES = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "done",
    TrialState.FAIL: "failed",
}


@dataclass(frozen=True)
class CellJob:
    """A cell that this process trains, and what says so."""

    cell: Cell
    spec: VariantSpec
    trial_id: int
    hold: Hold

    def check(self) -> None:
        """Ask that the cell is still this process's own."""
        if self.hold.lost:
            raise CellLost(str(self.cell))


class Trials:
    """The trials of a study's folder, in its `study.db` or in the database at ``url``.

    Args:
        folder: The folder.
        url: SQLite or PostgreSQL as SQLAlchemy writes it; a study is there under its folder's name,
            below the one behind ``?study=``.
        say: Called with a line for the user while a server does not answer.
    """

    def __init__(
        self, folder: Path, url: str | None = None, say: Callable[[str], object] = str
    ) -> None:
        self.folder = folder
        (folder / "locks").mkdir(parents=True, exist_ok=True)
        self.store = _open_store(url or f"sqlite:///{folder / 'study.db'}", folder, say)
        self.study = self.store.study
        self._waiting: deque[FrozenTrial] = deque()

    def close(self) -> None:
        """Leave the storage; what this process holds is free for others."""
        self.store.close()

    def plan(
        self, cells: Iterable[Cell], recipe: str, specs: Mapping[Variant, VariantSpec]
    ) -> None:
        """Queue the cells that the study does not have yet."""
        self.store.alone(lambda: self._plan(cells, recipe, specs))

    def _plan(
        self, cells: Iterable[Cell], recipe: str, specs: Mapping[Variant, VariantSpec]
    ) -> None:
        known = self.study.user_attrs.get("recipe")
        if known is None:
            self.study.set_user_attr("recipe", recipe)
        elif known != recipe:
            changes = spec.show_changes(spec.changes(json.loads(known), json.loads(recipe)))
            raise InputError(
                f"{self.folder} holds a study of another recipe ({changes});"
                " give another folder to --out"
            )
        have = self._latest()
        for cell in unique(cells):
            wanted = specs[cell.variant]
            if cell not in have:
                self._queue(cell, spec.to_table(wanted))
            else:
                _check_spec(self.folder, cell, have[cell], wanted)

    def take(self) -> CellJob | None:
        """Return the next waiting cell, now this process's own; None where none waits."""
        return self.store.alone(self._take)

    def _take(self) -> CellJob | None:
        """Take the next cell of those that waited when last looked; look again at their end."""
        for look in (False, True):
            if look:
                self._look()
            while self._waiting:
                if job := self._hold(self._waiting.popleft()):
                    return job
        return None

    def _look(self) -> None:
        self.store.fail_dead()
        self._queue_unexplained()
        waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        self._waiting.extend(waiting)

    def _hold(self, waiting: FrozenTrial) -> CellJob | None:
        """Return a cell as this process's own; None where another process has taken it."""
        storage, number = self.study._storage, waiting._trial_id
        if storage.get_trial(number).state is not TrialState.WAITING:
            return None
        cell = Cell.from_dict(waiting.user_attrs["cell"])
        hold = self.store.hold(waiting, cell)  # before it runs: who runs unheld is dead
        try:
            storage.set_trial_state_values(number, TrialState.RUNNING)
        except BaseException:
            hold.release()
            raise
        return CellJob(cell, _read_spec(waiting.user_attrs), number, hold)

    def finish(self, job: CellJob, top1: float, outcome: dict[str, Any]) -> None:
        """Record what a cell came to; a score that is no number is a failure.

        Raises:
            CellLost: if this process was taken for dead, and the cell is another one's.
        """
        if math.isnan(top1):
            self.fail(job, "its score is not a number")
            return
        self.store.alone(lambda: self._end(job, {"outcome": outcome}, TrialState.COMPLETE, top1))

    def fail(self, job: CellJob, note: str) -> None:
        """Record why a cell has no value; the same command does not train it again."""
        self.store.alone(lambda: self._end(job, {"note": note}, TrialState.FAIL))

    def give_back(self, job: CellJob) -> None:
        """Queue a cell again that this process leaves unfinished."""

        def act() -> None:
            with contextlib.suppress(UpdateFinishedTrialError):
                self.study._storage.set_trial_state_values(job.trial_id, TrialState.FAIL)
            self._queue_unexplained()
            job.hold.release()

        try:
            self.store.alone(act, patient=False)
        finally:
            job.hold.release()

    def _end(
        self, job: CellJob, left: dict[str, Any], state: TrialState, top1: float | None = None
    ) -> None:
        """End a trial with what it leaves, unless an earlier attempt to do so has come through."""
        storage = self.study._storage
        try:
            for key, value in left.items():
                storage.set_trial_user_attr(job.trial_id, key, value)
            storage.set_trial_state_values(job.trial_id, state, None if top1 is None else [top1])
        except UpdateFinishedTrialError:
            if _is_stopped(storage.get_trial(job.trial_id)):
                raise CellLost(str(job.cell)) from None
        job.hold.release()

    def records(self) -> list[CellRecord]:
        latest = self.store.read(self._latest)
        return [_read_trial(cell, trial) for cell, trial in latest.items()]

    def stamp(self) -> int:
        """Return a number that grows with every trial queued: what a report is a report of."""
        return self.store.read(lambda: len(self.study.get_trials(deepcopy=False)))

    def run_folder(self, cell: Cell) -> Path:
        return self.folder / "trials" / cell.folder

    def report_lock(self) -> FileLock:
        return FileLock(self.folder / "locks" / "report.lock")

    def _queue_unexplained(self) -> None:
        """Queue each cell whose last trial ended without a reason: its process was stopped."""
        for cell, trial in self._latest().items():
            if _is_stopped(trial):
                self._queue(cell, trial.user_attrs["spec"])

    def _queue(self, cell: Cell, spec_table: dict[str, Any]) -> None:
        self.study.enqueue_trial({}, {"cell": cell.to_dict(), "spec": spec_table})

    def _latest(self) -> dict[Cell, FrozenTrial]:
        trials = self.study.get_trials(deepcopy=False)
        return {Cell.from_dict(t.user_attrs["cell"]): t for t in trials}


def _open_store(address: str, folder: Path, say: Callable[[str], object]) -> Store:
    url = database_url(address)
    kind = url.get_backend_name()
    if kind == "sqlite":
        return SQLiteStore(address, folder)
    if kind == "postgresql":
        return PostgresStore(url, folder.name, say)
    raise InputError(f"--storage {kind}: a study is kept in SQLite or in PostgreSQL")


def _is_stopped(trial: FrozenTrial) -> bool:
    """Tell whether a trial ended without a reason: its process died or was stopped."""
    return trial.state is TrialState.FAIL and "note" not in trial.user_attrs


def _read_trial(cell: Cell, trial: FrozenTrial) -> CellRecord:
    """Say what a cell's last trial tells; one stopped without a reason waits to be continued."""
    return CellRecord(
        cell,
        _read_spec(trial.user_attrs),
        "waiting" if _is_stopped(trial) else _STATES[trial.state],
        trial.value,
        trial.user_attrs.get("outcome", {}),
        trial.user_attrs.get("note", ""),
    )


def _read_spec(stored: Mapping[str, Any]) -> VariantSpec:
    return spec.parse(VariantSpec, stored["spec"], name="network of a stored cell")


def _check_spec(folder: Path, cell: Cell, trial: FrozenTrial, wanted: VariantSpec) -> None:
    """Ask for the network that a stored cell has."""
    was, now = trial.user_attrs["spec"], spec.to_table(wanted)
    if _read_spec(trial.user_attrs) != wanted:
        raise InputError(
            f"{folder} trained another {cell.variant.label}"
            f" ({spec.show_changes(spec.changes(was, now))}); give another folder to --out"
        )
