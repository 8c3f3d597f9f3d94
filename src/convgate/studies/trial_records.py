"""Opening an Optuna storage, and what a trial in it says."""

import contextlib
import errno
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.exc
from optuna.trial import FrozenTrial, TrialState

from convgate import spec
from convgate.errors import CorruptFile, InputError
from convgate.studies.grid import Cell
from convgate.studies.network import Network, read_network

PATIENCE_S = 60.0
"""How long a process waits for a lock that others hold for milliseconds."""


@dataclass(frozen=True)
class Record:
    """What the storage knows of one cell.

    Args:
        cell: The cell.
        state: waiting, running, done or failed.
        top1: Percent at the last epoch; None until done.
        outcome: What the run left: history, seconds, distance, ...
        note: Why it failed, in one sentence.
        options: The gate's own options.
        network: What the cell builds; None in studies of older versions, which kept the
            options alone.
    """

    cell: Cell
    state: str
    top1: float | None = None
    outcome: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    network: Network | None = None

    @property
    def settled(self) -> bool:
        return self.state in ("done", "failed")


_STATES = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "done",
    TrialState.FAIL: "failed",
}


def read_trial(cell: Cell, trial: FrozenTrial) -> Record:
    """Say what a cell's last trial tells; one stopped without a reason waits to be continued."""
    stopped = trial.state is TrialState.FAIL and "note" not in trial.user_attrs
    return Record(
        cell,
        "waiting" if stopped else _STATES[trial.state],
        trial.value,
        trial.user_attrs.get("outcome", {}),
        trial.user_attrs.get("note", ""),
        trial.user_attrs["options"],
        read_network(trial.user_attrs),
    )


def open_study(url: str, folder: Path) -> optuna.Study:
    """Open the Optuna study of a folder, or create it.

    Raises:
        CorruptFile: if the storage is something else.
        OSError: ENOSPC if the disk is full.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    wait = {"connect_args": {"timeout": PATIENCE_S}} if url.startswith("sqlite") else None
    try:
        storage = optuna.storages.RDBStorage(url, engine_kwargs=wait)
        return optuna.create_study(
            storage=storage, study_name=folder.name, direction="maximize", load_if_exists=True
        )
    except (sqlalchemy.exc.DatabaseError, RuntimeError) as error:
        if "disk is full" in str(error):
            raise OSError(errno.ENOSPC, "no space left", str(folder / "study.db")) from None
        raise CorruptFile(
            f"{url}: not a study that this version can read ({_first_line(error)});"
            " give another folder to --out"
        ) from None


@contextlib.contextmanager
def full_disk_named(folder: Path) -> Iterator[None]:
    """Turn the storage's own word for a full disk into the system's."""
    try:
        yield
    except (sqlalchemy.exc.OperationalError, optuna.exceptions.StorageInternalError) as error:
        if "disk is full" in f"{error} {error.__cause__}":
            raise OSError(errno.ENOSPC, "no space left", str(folder / "study.db")) from error
        raise


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def check_network(folder: Path, cell: Cell, trial: FrozenTrial, wanted: Network) -> None:
    """Ask for the network that a stored cell has.

    Raises:
        InputError: if it is another one.
    """
    was, now = trial.user_attrs["options"], wanted.options
    if was != now:
        raise InputError(
            f"{folder} trained {cell.variant.name or cell.variant.gate!r} with options {was},"
            f" not {now}; give another folder to --out"
        )
    network = read_network(trial.user_attrs)
    if network is not None and network != wanted:
        changes = recipe_changes(*(json.dumps(spec.to_table(n)) for n in (network, wanted)))
        raise InputError(
            f"{folder} trained another {cell.variant.label} ({changes});"
            " give another folder to --out"
        )


def recipe_changes(old: str, new: str) -> str:
    """Name up to three keys in which two recipes differ."""
    before, now = _flat(json.loads(old)), _flat(json.loads(new))
    keys = [k for k in sorted(before.keys() | now.keys()) if before.get(k) != now.get(k)]
    named = [f"{k} was {before.get(k)!r}, is {now.get(k)!r}" for k in keys[:3]]
    return "; ".join(named + ([f"and {len(keys) - 3} more"] if len(keys) > 3 else []))


def _flat(table: dict[str, Any], at: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{at}{key}.") if isinstance(value, dict) else {f"{at}{key}": value}
    return flat
