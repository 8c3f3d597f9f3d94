"""A study from its first cell to its report; the same call continues what was interrupted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Unpack

from filelock import Timeout

from convgate import spec
from convgate.cluster import RayOptions, open_session
from convgate.errors import InputError
from convgate.storage import write_text
from convgate.studies.grid import Cell, Variant, VariantSpec, fingerprint
from convgate.studies.loop import Progress, train_cells
from convgate.studies.measurement import Measurements, measure_runs, read_measurements
from convgate.studies.on_ray import check_cluster, measure_on_ray, train_on_ray
from convgate.studies.plan import Choices, StudyPlan, check_variants, make_plan
from convgate.studies.report import write_report
from convgate.studies.result import StudyResult, conclude, is_fresh
from convgate.studies.trials import CellRecord, Trials
from convgate.train.fit import fit
from convgate.train.recipe import Recipe
from convgate.train.record import RunResult
from convgate.train.trainer import process

LATENCY = "latency.json"
RECIPE = "recipe.toml"


@dataclass(frozen=True)
class Steps:
    """The work itself, apart from the bookkeeping around it."""

    # raises an InputError for a variant that cannot be built
    check: Callable[[Recipe, Mapping[Variant, VariantSpec]], None] = check_variants
    fit: Callable[..., RunResult] = fit  # trains a recipe into a folder, or continues it
    # takes cost, latency and distance of the finished runs; its last argument is the time for each
    # variant in seconds, None for the protocol's own
    measure: Callable[[Recipe, Sequence[CellRecord], Path, float | None], Measurements] = (
        measure_runs
    )


def run_study(
    recipe: Recipe | str | Path | None,
    out: str | Path,
    *,
    seconds: float | None = None,
    remeasure: bool = False,
    storage: str | None = None,
    ray: RayOptions | None = None,
    progress: bool | None = None,
    steps: Steps | None = None,
    **choices: Unpack[Choices],
) -> StudyResult:
    """Train every cell of backbone x gate x site x seed, measure, and write the report.

    Several processes may run the same study at once; each takes other cells. A cell whose
    process has died is continued by the next. More gates, sites or seeds extend a finished
    study; the same ones rebuild its report.

    Args:
        recipe: A recipe, its name, or its TOML file; None for the one of a preset's rows. The
            plain backbone is always trained too.
        out: The study's folder: study.db, trials/, results.csv, latency.json, report.html, ...
        seconds: Time to spend on the latency of each variant; None for the protocol's own.
        remeasure: Measure again what is measured already.
        storage: A database for the list of runs in place of ``out``/study.db, as
            "postgresql+psycopg://user@host/database", where ``out`` is not one folder for all
            processes: the study has the folder's name there, below that of ``?study=``.
        ray: Train on a Ray cluster in place of this process.
        progress: False for silence; None for lines, and bars on a terminal.
        steps: Other work than the package's own, for tests and for other trainers.
        choices: What to compare, where it is not the recipe's own: see `Choices`.

    Raises:
        InputError: for a wrong name, a gate that does not fit its site, or a folder that holds
            a study of another recipe.
        KeyboardInterrupt: on Ctrl-C; the same call continues.
    """
    steps, folder = steps or Steps(), Path(out)
    plan = make_plan(recipe, choices)
    recipe = plan.recipe
    steps.check(recipe, plan.networks)
    lines = Progress(progress)
    train: Callable[..., bool] = train_cells
    with ExitStack() as stack:
        if ray is not None:
            session = stack.enter_context(open_session(ray, folder / "trials"))
            check_cluster(session, recipe, list(plan.networks.values()))
            train = partial(train_on_ray, session)
            steps = replace(steps, measure=measure_on_ray(session, steps.measure))
        trials = stack.enter_context(closing(_claim(folder, storage, lines)))
        trials.plan(plan.cells, fingerprint(recipe), plan.networks)
        _keep_recipe(recipe, folder)
        trained = train(trials, recipe, steps.fit, lines)
        return _report(trials, plan, steps, lines, trained, remeasure, seconds)


def _report(
    trials: Trials,
    plan: StudyPlan,
    steps: Steps,
    lines: Progress,
    trained: bool,
    remeasure: bool,
    seconds: float | None,
) -> StudyResult:
    """Measure and write the report, unless another process has."""
    recipe, folder = plan.recipe, trials.folder
    with _turn(trials, lines) as waited:
        records = _finished(trials)
        shared = (trained or waited) and not remeasure
        written = shared and is_fresh(folder, trials.stamp())  # by another process
        measured = read_measurements(folder / LATENCY) or Measurements()
        if not written and (remeasure or not measured.covers(_done(records))):
            lines.say(f"measuring {len({c.variant for c in _done(records)})} variants, interleaved")
            measured = steps.measure(recipe, records, folder, seconds)
            measured.write(folder / LATENCY)
        result = conclude(folder, recipe, records, measured, plan.budget)
        if not written:
            write_report(result, trials.stamp())
    return result


def _claim(folder: Path, storage: str | None, lines: Progress) -> Trials:
    if process().world_size > 1:
        raise InputError(
            "a study shares its cells among processes that know nothing of each other; start the"
            " same command several times in place of torchrun"
        )
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give a folder to --out")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "locks").is_dir():
        raise InputError(f"{folder} holds other files and no study; give another folder to --out")
    return Trials(folder, storage, lines.say)


def _keep_recipe(recipe: Recipe, folder: Path) -> None:
    if not (folder / RECIPE).is_file():
        write_text(folder / RECIPE, spec.dump(recipe))


@contextmanager
def _turn(trials: Trials, lines: Progress) -> Iterator[bool]:
    """Let one process at a time measure and write the report; tell whether it had to wait."""
    lock = trials.report_lock()
    waited = False
    try:
        lock.acquire(blocking=False)
    except Timeout:
        waited = True
        lines.say("another process measures and writes the report; waiting for it")
        lock.acquire()
    try:
        yield waited
    finally:
        lock.release()


def _finished(trials: Trials) -> list[CellRecord]:
    records = trials.records()
    if not _done(records):
        raise InputError(f"no cell of the study could be trained: {records[0].note}")
    return records


def _done(records: Sequence[CellRecord]) -> set[Cell]:
    return {record.cell for record in records if record.top1 is not None}
