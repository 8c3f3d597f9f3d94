"""Independent trainings on a Ray cluster: one task each, continued on another node after a death.

The driver hands out cells and is told how each ended; no node writes anything but the run of its
cell. A cell on several GPUs is trained by Ray Train, one process a GPU, with Lightning's DDP.
"""

import contextlib
import importlib
import os
import platform
import shutil
import sys
import uuid
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from convgate.cluster.files import RunFiles, SharedFolder
from convgate.cluster.session import RaySession
from convgate.errors import Diverged, InputError
from convgate.train.recipe import Recipe
from convgate.train.record import RunResult

K = TypeVar("K", bound=Hashable)

RETRIES = 20
"""How often a cell is begun again, from its last checkpoint, after its process or node has died."""


@dataclass(frozen=True)
class TrainingCell:
    """One training, independent of all others."""

    name: str  # the path of its run below the folder of all runs
    recipe: Recipe


@dataclass(frozen=True)
class CellResult:
    """What became of a cell."""

    score: float | None = None  # None where it has diverged
    outcome: dict[str, Any] | None = None  # what the caller asked of its run
    note: str = ""  # why it has no score


@dataclass(frozen=True)
class Work:
    """What is done in a cell.

    Args:
        fit: Trains a recipe into a folder, or continues it.
        summary: Says in plain values what a run has come to.
        modules: Modules to import first, which bring gates of other packages.
        folder: The driver's own folder, for relative paths where a node has it too.
        command: What was typed, which runs keep.
    """

    fit: Callable[..., RunResult]
    summary: Callable[[RunResult], dict[str, Any]]
    modules: tuple[str, ...]
    folder: str
    command: tuple[str, ...]

    @classmethod
    def here(
        cls,
        fit: Callable[..., RunResult],
        summary: Callable[[RunResult], dict[str, Any]],
        modules: tuple[str, ...] = (),
    ) -> "Work":
        """Return the work as this process, the driver, would do it."""
        return cls(fit, summary, modules, os.getcwd(), tuple(sys.argv))

    def prepare(self) -> None:
        """Make this process one that could have been started like the driver."""
        sys.argv = list(self.command)
        if os.path.isdir(self.folder):
            os.chdir(self.folder)
            sys.path += [] if self.folder in sys.path else [self.folder]
        for module in self.modules:
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise InputError(
                    f"{module}, which has a gate of the study, cannot be imported on "
                    f"{platform.node()} ({error}); install it there"
                ) from None


def run_cells(
    session: RaySession,
    take: Callable[[], tuple[K, TrainingCell] | None],
    settle: Callable[[K, CellResult], None],
    work: Work,
) -> bool:
    """Train cells until there is none to take and none in work; tell whether there was any.

    Args:
        session: The cluster.
        take: Gives the next cell with a key of the caller's, or None where none waits now.
        settle: Told, in this process, how the cell of a key has ended.
        work: What is done in a cell.

    Raises:
        InputError: if the data, the recipe or a node is wrong, as in a training on one machine.
    """
    running: dict[Any, K] = {}
    worked = False
    start = _starter(session, work)
    try:
        while True:
            at_once = _at_once(session)
            while len(running) < at_once and (taken := take()) is not None:
                key, cell = taken
                running[start(cell)] = key
            if not running:
                return worked
            worked = True
            done, _ = session.ray.wait(list(running), timeout=5.0)
            for answer in done:
                result = _result(session, answer)
                settle(running.pop(answer), result)
    finally:
        for answer in running:
            with contextlib.suppress(Exception):
                session.ray.cancel(answer, force=True)


def _at_once(session: RaySession) -> int:
    """Return how many cells to hand out: those in work, and some that a free node finds ready."""
    slots = session.slots
    return slots + max(2, slots // 4)


def _starter(session: RaySession, work: Work) -> Callable[[TrainingCell], Any]:
    """Return what hands a cell out; the cluster is told once what is done in all of them."""
    cpus, gpus = session.options.cpus_per_cell, session.gpus
    if session.processes == 1:
        train = session.ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)(train_here)
        return lambda cell: train.remote(cell, session.files, work)
    each = {"CPU": cpus} | ({"GPU": 1} if gpus else {})
    scaling = {
        "num_workers": session.processes,
        "use_gpu": bool(gpus),
        "resources_per_worker": each,
    }
    train = session.ray.remote(num_cpus=0, max_retries=RETRIES)(train_together)
    return lambda cell: train.remote(cell, session.files, work, scaling)


def _result(session: RaySession, answer: Any) -> CellResult:
    errors = session.ray.exceptions
    try:
        return cast(CellResult, session.answer(answer))
    except errors.RayTaskError:
        raise
    except errors.RayError as error:  # the node or process died more often than it is retried
        reason = str(error).splitlines()[0]
        return CellResult(note=f"its process died {RETRIES + 1} times ({reason})")


def train_here(cell: TrainingCell, files: RunFiles, work: Work) -> CellResult:
    """Train a cell in this process, from its last checkpoint."""
    work.prepare()
    with files.open(cell.name) as run:
        try:
            result = work.fit(
                cell.recipe, run.folder, progress=False, on_epoch=lambda _: run.save()
            )
        except Diverged as error:
            return CellResult(note=str(error))
        run.save()
        return CellResult(result.score, work.summary(result))


def train_together(
    cell: TrainingCell, files: SharedFolder, work: Work, scaling: dict[str, Any]
) -> CellResult:
    """Train a cell in processes of Ray Train, begun again after one has died."""
    import ray.train
    from ray.train.torch import TorchTrainer

    notes = files.root / ".ray-train" / uuid.uuid4().hex  # Ray Train's own, of no further use
    for _ in range(RETRIES + 1):
        trainer = TorchTrainer(
            partial(_train_rank, cell, files, work),
            scaling_config=ray.train.ScalingConfig(**scaling),
            run_config=ray.train.RunConfig(name=notes.name, storage_path=str(notes.parent)),
        )
        try:
            return cast(CellResult, trainer.fit().return_value)
        except ray.train.WorkerGroupError as error:
            failures = [_cause(failure) for failure in error.worker_failures.values()]
        finally:
            shutil.rmtree(notes, ignore_errors=True)
        for failure in failures:
            if isinstance(failure, Diverged):
                return CellResult(note=str(failure))
            if isinstance(failure, (InputError, OSError)):
                raise failure
    return CellResult(note=f"its processes died {RETRIES + 1} times ({failures[0]})")


def _cause(error: BaseException) -> BaseException:
    """Return what a process raised, below what Ray wraps around it."""
    return getattr(error, "cause", None) or error.__cause__ or error


def _train_rank(cell: TrainingCell, files: SharedFolder, work: Work) -> CellResult:
    work.prepare()
    result = work.fit(cell.recipe, files.root / cell.name, progress=False)
    return CellResult(result.score, work.summary(result))
