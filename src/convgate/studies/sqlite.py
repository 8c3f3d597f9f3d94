"""Trials in an SQLite file, for processes that see one folder: who lives is told by file locks.

Whoever trains a cell holds a file lock, which the system frees when the process ends for whatever
reason; a running trial whose lock is free is therefore dead. Every change of a trial's state
happens under one lock of the folder, because SQLite alone lets two readers take the same trial.
"""

import contextlib
import errno
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import optuna
import sqlalchemy.exc
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, TrialState

from convgate.errors import CorruptFile
from convgate.studies.grid import Cell

T = TypeVar("T")

PATIENCE_S = 60.0
"""How long a process waits for a lock that others hold for milliseconds."""


@dataclass(frozen=True)
class FileHold:
    """A cell that this process trains, by the lock of a file."""

    lock: FileLock
    lost: bool = False  # the system takes a lock from no living process

    def release(self) -> None:
        self.lock.release()


class SQLiteStore:
    """The trials of a study in an SQLite file."""

    poll_s = 0.5
    """How often a process with nothing to train looks whether another one has finished or died."""

    def __init__(self, url: str, folder: Path) -> None:
        self.folder = folder
        self.change_lock = FileLock(folder / "locks" / "study.lock", timeout=PATIENCE_S)
        self.study = self.alone(lambda: _open_study(url, folder))

    def close(self) -> None:
        pass

    def alone(self, act: Callable[[], T], *, patient: bool = True) -> T:
        """Return what ``act`` does while no other process changes a trial."""
        with self.change_lock, _system_errors(self.folder):
            return act()

    def read(self, act: Callable[[], T]) -> T:
        return act()

    def hold(self, trial: FrozenTrial, cell: Cell) -> FileHold:
        """Say that this process trains a cell."""
        lock = self._lock(cell)
        lock.acquire(timeout=PATIENCE_S)
        return FileHold(lock)

    def fail_dead(self) -> None:
        """End the trials whose process has died."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        dead = [t for t in running if self._is_free(Cell.from_dict(t.user_attrs["cell"]))]
        for trial in dead:
            self.study.tell(trial.number, state=TrialState.FAIL)

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


def _open_study(url: str, folder: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        wait = {"connect_args": {"timeout": PATIENCE_S}}
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
