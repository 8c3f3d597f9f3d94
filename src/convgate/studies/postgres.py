"""Trials on a PostgreSQL server, for processes on many machines: who lives is told by heartbeats.

Whoever trains a cell writes a heartbeat on the server every few seconds; a running trial whose
heartbeat stands still is dead. Every change of a trial's state happens under one advisory lock of
the server, which it frees when the connection ends. A server that goes away is waited for. Nobody
is called dead before the server has answered without a break for as long as a heartbeat may fail:
when it comes back, all hearts have stood still.
"""

import importlib.util
import itertools
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import optuna
import sqlalchemy
import sqlalchemy.exc
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL, make_url

from convgate.errors import CorruptFile, InputError, missing
from convgate.studies.grid import Cell

T = TypeVar("T")

HEARTBEAT_S = 10
"""How often a process says that it trains a cell."""

GRACE_S = 60
"""How long a heartbeat may stand still before its process is taken for dead."""

OPENING_S = 30.0
"""How long a server is waited for that has not answered yet."""

OUTAGE_S = 900.0
"""How long a server is waited for that has answered before."""

_SETTINGS = {
    "timezone": "UTC",  # heartbeats are compared with the server's clock, without a zone
    "lock_timeout": 60_000,  # ms
    "tcp_keepalives_idle": 30,  # seconds: the lock of a machine that is gone is freed
    "tcp_keepalives_interval": 10,
    "tcp_keepalives_count": 3,
}
_CONNECTION = {
    "connect_timeout": 10,  # seconds
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # ms
    "options": " ".join(f"-c {key}={value}" for key, value in _SETTINGS.items()),
    "application_name": "convgate",
}
_OPENING = "convgate"
"""The advisory lock under which tables and studies are made."""

_TEMPORARY = (
    "starting up",
    "shutting down",
    "recovery",
    "not yet accepting",
    "connection slots",
    "too many",
)
"""What a server says that refuses a connection now, and takes it later."""

OUTAGES = (
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    optuna.exceptions.StorageInternalError,
)


class Heartbeat:
    """A cell that this process trains, by a heartbeat on the server."""

    def __init__(self, store: "PostgresStore", trial: FrozenTrial) -> None:
        self.store = store
        self.trial_id = trial._trial_id
        self.lost = False
        self._stopped = threading.Event()
        self.store.storage.record_heartbeat(self.trial_id)
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def release(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _beat(self) -> None:
        pause = float(HEARTBEAT_S)
        while not self._stopped.wait(pause):
            try:
                self.store.storage.record_heartbeat(self.trial_id)
                state = self.store.storage.get_trial(self.trial_id).state
                self.lost = state is TrialState.FAIL and not self._stopped.is_set()
                pause = float(HEARTBEAT_S)
            except OUTAGES:
                self.store.note_outage()
                pause = 1.0
            except KeyError:  # somebody has deleted the study
                self.lost = True
                return


class PostgresStore:
    """The trials of a study on a PostgreSQL server.

    Args:
        url: The server and the database.
        name: The study's name there, below the one behind ``?study=`` in the address; the same
            name is the same study.
        say: Called with a line for the user while the server does not answer.
    """

    poll_s = 2.0
    """How often a process with nothing to train looks whether another one has finished or died."""

    def __init__(self, url: URL, name: str, say: Callable[[str], object]) -> None:
        check_driver()
        own = url.query.get("study")
        self.name = f"{own}/{name}" if own else name
        self.url = url.set(drivername="postgresql+psycopg").difference_update_query(["study"])
        self.shown = self.url.render_as_string(hide_password=True)
        self.say = say
        self.answers_since = time.monotonic()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.engine = sqlalchemy.create_engine(self.url, **_engine())
        self.storage, self.study = self._patiently(
            lambda: self._locked(_OPENING, self._open), OPENING_S
        )
        self._hearts: list[Heartbeat] = []

    def close(self) -> None:
        for heart in self._hearts:
            heart.release()
        self.engine.dispose()
        self.storage.engine.dispose()

    def alone(self, act: Callable[[], T], *, patient: bool = True) -> T:
        """Return what ``act`` does while no other process changes a trial of the study.

        ``act`` is called again where the server went away in the middle of it.
        """
        return self._patiently(lambda: self._locked(self.name, act), OUTAGE_S if patient else 0.0)

    def read(self, act: Callable[[], T]) -> T:
        return self._patiently(act, OUTAGE_S)

    def hold(self, trial: FrozenTrial, cell: Cell) -> Heartbeat:
        """Say that this process trains a cell."""
        heart = Heartbeat(self, trial)
        self._hearts.append(heart)
        return heart

    def fail_dead(self) -> None:
        """End the trials whose process has died."""
        if time.monotonic() - self.answers_since > GRACE_S and self._uptime_s() > GRACE_S:
            optuna.storages.fail_stale_trials(self.study)

    def _uptime_s(self) -> float:
        since = sqlalchemy.func.now() - sqlalchemy.func.pg_postmaster_start_time()
        with self.engine.connect() as connection:
            seconds = sqlalchemy.extract("epoch", since)
            return float(connection.execute(sqlalchemy.select(seconds)).scalar_one())

    def note_outage(self) -> None:
        self.answers_since = time.monotonic()

    def _locked(self, name: str, act: Callable[[], T]) -> T:
        key = sqlalchemy.func.pg_advisory_xact_lock(sqlalchemy.func.hashtextextended(name, 0))
        connection = self.engine.connect()
        try:
            connection.execute(sqlalchemy.select(key))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Optuna's notes on heartbeats
                return act()
        finally:
            _end(connection)

    def _patiently(self, act: Callable[[], T], limit_s: float) -> T:
        since = time.monotonic()
        for attempt in itertools.count():
            try:
                return act()
            except OUTAGES as error:
                self.note_outage()
                self._check_patience(_reason(error), since, limit_s)
            if attempt == 0:
                self.say(f"{self.shown} does not answer; waiting up to {limit_s:.0f} s for it")
            time.sleep(1)
        raise AssertionError

    def _check_patience(self, reason: str, since: float, limit_s: float) -> None:
        """Raise where waiting longer than since a time is of no use."""
        final = "FATAL" in reason or "resolve" in reason
        if limit_s == OPENING_S and final and not any(word in reason for word in _TEMPORARY):
            raise InputError(f"--storage {self.shown}: {reason}") from None
        if time.monotonic() - since > limit_s:
            raise InputError(
                f"--storage {self.shown}: no answer for {limit_s:.0f} s ({reason}); when it is "
                "back, the same command continues"
            ) from None

    def _open(self) -> tuple[Any, optuna.Study]:
        """Return Optuna's storage and the study, made where they are not there yet."""
        url = self.url.render_as_string(hide_password=False)
        try:
            storage = optuna.storages.RDBStorage(
                url, _engine(), heartbeat_interval=HEARTBEAT_S, grace_period=GRACE_S
            )
            study = optuna.create_study(
                storage=storage, study_name=self.name, direction="maximize", load_if_exists=True
            )
        except OUTAGES:
            raise
        except (sqlalchemy.exc.DatabaseError, RuntimeError) as error:
            raise CorruptFile(
                f"--storage {self.shown}: no database that this version can keep a study in "
                f"({_reason(error)}); name another database"
            ) from None
        return storage, study


def database_url(address: str) -> URL:
    """Return an address of a database in its parts; a password is a part that is never shown."""
    try:
        url = make_url(address)
        if "@" in (url.host or ""):
            raise ValueError
    except (ValueError, sqlalchemy.exc.ArgumentError):
        raise InputError(
            "--storage: no address of a database; write postgresql+psycopg://USER@HOST/DATABASE, "
            "with the signs of a password that are no letters as in %40 for @"
        ) from None
    if "password" in url.query:
        password = str(url.query["password"])
        url = url.set(password=password).difference_update_query(["password"])
    return url


def check_driver() -> None:
    if importlib.util.find_spec("psycopg") is None:
        raise missing("--storage with PostgreSQL", "psycopg", "postgres")


def _engine() -> dict[str, Any]:
    """Return the arguments of an engine: a connection that stays, more while they are needed."""
    return {
        "pool_size": 1,
        "max_overflow": 9,
        "pool_pre_ping": True,
        "connect_args": dict(_CONNECTION),
    }


def _end(connection: sqlalchemy.Connection) -> None:
    """Free a lock by ending its transaction; where the server went away, it has freed it."""
    try:
        connection.rollback()
        connection.close()
    except OUTAGES:
        connection.invalidate()


def _reason(error: BaseException | None) -> str:
    """Return the first line of what the server or the system said, below Optuna's words."""
    found, said = error, str(error)
    while found is not None:
        said = str(getattr(found, "orig", found))
        found = found.__cause__
    return said.strip().splitlines()[0].removeprefix("connection failed: ")
