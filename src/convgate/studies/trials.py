"""The study's trials in an Optuna storage, shared by processes and safe against their death.

A cell of the grid is a trial. Whoever trains it holds a file lock, which the system frees when
the process ends for whatever reason; a running trial whose lock is free is therefore dead, and
goes back into the queue. Every change of a trial's state happens under one lock of the folder,
because SQLite alone lets two readers take the same waiting trial.
"""

import contextlib
import errno
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.exc
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, TrialState

from convgate import spec
from convgate.errors import CorruptFile, InputError
from convgate.studies.grid import Cell, Variant, VariantSpec, unique

PATIENCE_S = 60.0
"""How long a process waits for a lock that others hold for milliseconds."""


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
    """A cell that this process trains, and the lock that says so."""

    cell: Cell
    spec: VariantSpec
    trial: optuna.Trial
    lock: FileLock


class Trials:
    """The trials of a study's folder, in its `study.db` or in the Optuna storage at ``url``."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder = folder
        (folder / "locks").mkdir(parents=True, exist_ok=True)
        self.change_lock = FileLock(folder / "locks" / "study.lock", timeout=PATIENCE_S)
        with self._change():
            self.study = _open_study(url or f"sqlite:///{folder / 'study.db'}", folder)

    def plan(
        self, cells: Iterable[Cell], recipe: str, specs: Mapping[Variant, VariantSpec]
    ) -> None:
        """Queue the cells that the study does not have yet."""
        with self._change():
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
        with self._change():
            self._requeue_dead()
            if not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                return None
            trial = self.study.ask()
            cell = Cell.from_dict(trial.user_attrs["cell"])
            lock = self._lock(cell)
            lock.acquire(timeout=PATIENCE_S)
            return CellJob(cell, _read_spec(trial.user_attrs), trial, lock)

    def finish(self, job: CellJob, top1: float, outcome: dict[str, Any]) -> None:
        with self._change():
            for epoch in outcome["epochs"]:
                job.trial.report(epoch["top1"], epoch["epoch"])
            job.trial.set_user_attr("outcome", outcome)
            self.study.tell(job.trial, top1)
            job.lock.release()

    def fail(self, job: CellJob, note: str) -> None:
        """Record why a cell has no value; the same command does not train it again."""
        with self._change():
            job.trial.set_user_attr("note", note)
            self.study.tell(job.trial, state=TrialState.FAIL)
            job.lock.release()

    def give_back(self, job: CellJob) -> None:
        """Queue a cell again that this process leaves unfinished."""
        with self._change():
            self.study.tell(job.trial, state=TrialState.FAIL)
            self._queue_unexplained()
            job.lock.release()

    def records(self) -> list[CellRecord]:
        latest = self._latest()
        return [_read_trial(cell, trial) for cell, trial in latest.items()]

    def stamp(self) -> int:
        """Return a number that grows with every trial queued: what a report is a report of."""
        return len(self.study.get_trials(deepcopy=False))

    def run_folder(self, cell: Cell) -> Path:
        return self.folder / "trials" / cell.folder

    def report_lock(self) -> FileLock:
        return FileLock(self.folder / "locks" / "report.lock")

    def _requeue_dead(self) -> None:
        """Queue the cells again whose process has died."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        dead = [t for t in running if self._is_free(Cell.from_dict(t.user_attrs["cell"]))]
        for trial in dead:
            self.study.tell(trial.number, state=TrialState.FAIL)
        self._queue_unexplained()

    def _queue_unexplained(self) -> None:
        """Queue each cell whose last trial ended without a reason: its process was stopped."""
        for cell, trial in self._latest().items():
            if trial.state is TrialState.FAIL and "note" not in trial.user_attrs:
                self._queue(cell, trial.user_attrs["spec"])

    def _queue(self, cell: Cell, spec_table: dict[str, Any]) -> None:
        self.study.enqueue_trial({}, {"cell": cell.to_dict(), "spec": spec_table})

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
        with self.change_lock, _system_errors(self.folder):
            yield


def _read_trial(cell: Cell, trial: FrozenTrial) -> CellRecord:
    """Say what a cell's last trial tells; one stopped without a reason waits to be continued."""
    stopped = trial.state is TrialState.FAIL and "note" not in trial.user_attrs
    return CellRecord(
        cell,
        _read_spec(trial.user_attrs),
        "waiting" if stopped else _STATES[trial.state],
        trial.value,
        trial.user_attrs.get("outcome", {}),
        trial.user_attrs.get("note", ""),
    )


def _read_spec(stored: Mapping[str, Any]) -> VariantSpec:
    return spec.parse(VariantSpec, stored["spec"], name="network of a stored cell")


def _open_study(url: str, folder: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    wait = {"connect_args": {"timeout": PATIENCE_S}} if url.startswith("sqlite") else None
    try:
        storage = optuna.storages.RDBStorage(url, engine_kwargs=wait)
        return optuna.create_study(
            storage=storage, study_name=folder.name, direction="maximize", load_if_exists=True
        )
    except (sqlalchemy.exc.DatabaseError, RuntimeError) as error:
        _raise_of_system(error, folder)
        raise CorruptFile(
            f"{url}: not a study that this version can read ({str(error).splitlines()[0]});"
            " give another folder to --out"
        ) from None


@contextlib.contextmanager
def _system_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except (sqlalchemy.exc.OperationalError, optuna.exceptions.StorageInternalError) as error:
        _raise_of_system(error, folder)
        raise


_SYSTEM_ERRORS = {
    sqlite3.SQLITE_FULL: (errno.ENOSPC, "no space left"),
    sqlite3.SQLITE_IOERR: (errno.EIO, "the disk or a limit refused it"),
    sqlite3.SQLITE_CANTOPEN: (errno.EACCES, "it cannot be opened"),
    sqlite3.SQLITE_READONLY: (errno.EROFS, "it can only be read"),
}
"""SQLite's word for what the system refused -> the system's."""


def _raise_of_system(error: BaseException, folder: Path) -> None:
    """Raise the system's error that the storage's own stands for, if it does for one."""
    found: BaseException | None = error
    while found is not None:
        code = getattr(found, "sqlite_errorcode", 0) & 0xFF  # the rest of it goes into detail
        if code in _SYSTEM_ERRORS:
            raise OSError(*_SYSTEM_ERRORS[code], str(folder / "study.db")) from error
        found = found.__cause__ or found.__context__


def _check_spec(folder: Path, cell: Cell, trial: FrozenTrial, wanted: VariantSpec) -> None:
    """Ask for the network that a stored cell has."""
    was, now = trial.user_attrs["spec"], spec.to_table(wanted)
    if _read_spec(trial.user_attrs) != wanted:
        raise InputError(
            f"{folder} trained another {cell.variant.label}"
            f" ({spec.show_changes(spec.changes(was, now))}); give another folder to --out"
        )
