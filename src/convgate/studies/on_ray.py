"""A study's cells on a Ray cluster: this process hands them out, and alone writes what they are."""

import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from convgate.cluster import CellResult, RaySession, TrainingCell, Work, run_cells
from convgate.cluster.files import RunFiles
from convgate.gates import GATES
from convgate.studies.grid import Cell, VariantSpec, cell_recipe
from convgate.studies.loop import Progress, outcome_of
from convgate.studies.measurement import Measurements
from convgate.studies.trials import CellJob, CellLost, CellRecord, Trials
from convgate.train.recipe import Recipe
from convgate.train.record import RunResult

Measure = Callable[[Recipe, Sequence[CellRecord], Path, float | None], Measurements]


def check_cluster(session: RaySession, recipe: Recipe, networks: Sequence[VariantSpec]) -> None:
    """Ask that every node has the data and the weights, and that cells fit the cluster."""
    weights = [network.model.weights for network in networks]
    session.find(session.options.latency_on)
    session.check([Path(path).absolute() for path in [recipe.data.path, *weights] if path])


def train_on_ray(
    session: RaySession,
    trials: Trials,
    recipe: Recipe,
    fit: Callable[..., RunResult],
    progress: Progress,
) -> bool:
    """Train what waits on the cluster, and wait for what other processes train.

    Returns False if all was done before.
    """
    worked = False
    while True:
        driver = _Driver(session, trials, recipe, progress)
        worked |= driver.train(fit)
        if all(record.settled for record in driver.records.values()):
            return worked
        progress.wait(list(driver.records.values()))
        time.sleep(trials.store.poll_s)


class _Driver:
    """Takes cells for the cluster, and records what becomes of them."""

    def __init__(
        self, session: RaySession, trials: Trials, recipe: Recipe, progress: Progress
    ) -> None:
        self.session, self.trials = session, trials
        self.recipe, self.progress = recipe, progress
        self.records = {record.cell: record for record in trials.records()}
        self.jobs: dict[Cell, CellJob] = {}

    def train(self, fit: Callable[..., RunResult]) -> bool:
        specs = [record.spec for record in self.records.values()]
        work = Work.here(fit, outcome_of, _modules(specs))
        try:
            return run_cells(self.session, self.take, self.settle, work)
        finally:
            for job in list(self.jobs.values()):
                self.trials.give_back(job)

    def take(self) -> tuple[Cell, TrainingCell] | None:
        job = self.trials.take()
        if job is None:
            return None
        self.jobs[job.cell] = job
        self._note(replace(self.records[job.cell], state="running"))
        return job.cell, TrainingCell(job.cell.folder, cell_recipe(self.recipe, job.cell, job.spec))

    def settle(self, cell: Cell, result: CellResult) -> None:
        job, record = self.jobs[cell], self.records[cell]
        try:
            if result.score is None:
                self.trials.fail(job, result.note)
                self._note(replace(record, state="failed", note=result.note))
            else:
                folder = self.trials.run_folder(cell)
                self.session.bring(cell.folder, folder)
                place = f"{platform.node()}:{folder.absolute()}"
                outcome = (result.outcome or {}) | {"place": place}
                self.trials.finish(job, result.score, outcome)
                self._note(replace(record, state="done", top1=result.score, outcome=outcome))
        except CellLost:
            self.progress.say(f"{cell}: this process was not heard of, and another one trains it")
        else:
            self.progress.settled(cell, list(self.records.values()))
        del self.jobs[cell]

    def _note(self, record: CellRecord) -> None:
        self.records[record.cell] = record


def _modules(networks: Sequence[VariantSpec]) -> tuple[str, ...]:
    """Return the modules outside of the package that have gates of the study."""
    names = {network.gate.name for network in networks if network.gate is not None}
    homes = {GATES.factory(name).__module__ for name in names if name in GATES}
    return tuple(sorted(home for home in homes if not home.startswith("convgate.")))


def measure_on_ray(session: RaySession, measure: Measure) -> Measure:
    """Return a step that measures on the node for latency, while nothing else runs on it."""

    def step(
        recipe: Recipe, records: Sequence[CellRecord], folder: Path, seconds: float | None
    ) -> Measurements:
        given = (measure, recipe, records, seconds, folder.absolute(), session.files)
        chosen = session.find(session.options.latency_on)
        here = chosen["NodeID"] == session.here
        return session.alone_on(chosen, partial(_measure, *given, here=here))

    return step


def _measure(
    measure: Measure,
    recipe: Recipe,
    records: Sequence[CellRecord],
    seconds: float | None,
    folder: Path,
    files: RunFiles,
    *,
    here: bool,
) -> Measurements:
    with tempfile.TemporaryDirectory(prefix="convgate-") as own:
        if not here:
            folder = Path(own)
            for record in records:
                if record.top1 is not None:
                    name = record.cell.folder
                    files.fetch(name, folder / "trials" / name)
        found = measure(recipe, records, folder, seconds)
    return replace(found, environment={**found.environment, "node": platform.node()})
