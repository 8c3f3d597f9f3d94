"""A search from the first measurement to its answer; the same call continues what was stopped."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Unpack

from filelock import FileLock, Timeout

from convgate import spec
from convgate.cluster import RayOptions
from convgate.deploy.engines import EngineConfig
from convgate.errors import CorruptFile, InputError
from convgate.searches.bench import Bench, Timing
from convgate.searches.finalists import Finalists, choose_finalists, shortlist
from convgate.searches.latency import LatencyModel, Ratio, measure_latency, read_latency
from convgate.searches.plan import SearchChoices, SearchPlan, make_search
from convgate.searches.proposals import Proposal, explore
from convgate.searches.ranking import PathRanking, ScoreBook, search_recipe
from convgate.searches.report import write_search
from convgate.searches.result import SearchResult
from convgate.searches.shared import SharedFindings, named, on_server
from convgate.searches.space import Combination
from convgate.storage import write_text
from convgate.studies.loop import Progress
from convgate.studies.measurement import Measurements, measure_runs
from convgate.studies.run import Steps, run_study
from convgate.studies.tables import duration
from convgate.train.recipe import Recipe
from convgate.train.trainer import process

PLAN, LATENCY, SCORES, CHOSEN = "plan.json", "latency.json", "scores.json", "finalists.json"
PATHS, CONFIRM, STORAGE = "paths", "confirm", "search.db"


def search(
    recipe: Recipe | str | Path,
    out: str | Path,
    *,
    timing: Timing | None = None,
    storage: str | None = None,
    ray: RayOptions | None = None,
    progress: bool | None = None,
    steps: Steps | None = None,
    **choices: Unpack[SearchChoices],
) -> SearchResult:
    """Find which gate pays in which stage of a network, within a latency budget.

    Every gate is timed alone in every stage; a network that holds all of them is trained once, and
    its paths rank the combinations that Optuna proposes, on training pictures held out for it; the
    best combinations, single gates and the plain network are then trained in full as a study, on
    all training pictures, and scored on validation pictures that the search has not seen. The same
    call continues what was interrupted; several processes share the trainings in full.

    Args:
        recipe: A recipe, its name, or its TOML file.
        out: The folder of the search: best.toml, report.html, and what it was found from.
        timing: The engine that latency is of.
        storage: A PostgreSQL server, as in `run_study`, for machines that share no folder: what the
            first of them has found counts for all, and they share the trainings in full.
        progress: False for silence; None for lines, and bars on a terminal.
        ray: Train in full on a Ray cluster, and measure there in the end.
        steps: Other work than the package's own in the trainings in full, as in `run_study`.
        choices: What to search, where it is not the recipe's own: see `SearchChoices`.

    Raises:
        InputError: for a wrong name, a gate that fits no site or cannot run on the engine, a budget
            that nothing meets, a space of one point, or a folder that holds another search.
        KeyboardInterrupt: on Ctrl-C; the same call continues.
    """
    timing, folder = timing or Timing(), Path(out)
    EngineConfig(timing.engine, timing.dtype)  # before hours of training, not after
    plan = make_search(recipe, choices)
    lines = Progress(progress)
    _claim(folder, plan, timing)
    with _turn(folder, lines):
        prepared = _prepare_together(plan, folder, timing, lines, storage)
    study = run_study(
        None,
        folder / CONFIRM,
        preset=Finalists(plan.space, prepared.finalists, plan.recipe),
        seeds=plan.limits.seeds,
        budget=plan.limits.budget,
        seconds=timing.seconds,
        storage=named(storage, folder.name) if storage and on_server(storage) else storage,
        ray=ray,
        progress=progress,
        steps=steps or Steps(measure=_measure(timing)),
    )
    result = SearchResult(folder, plan.space, prepared.latency, prepared.proposals, study)
    with _turn(folder, lines):
        write_search(result)
    return result


def _measure(timing: Timing) -> Callable[..., Measurements]:
    return partial(measure_runs, engine=timing.engine, dtype=timing.dtype, fold=timing.fold)


@dataclass(frozen=True)
class Chosen:
    """What a search knows before anything is trained in full."""

    latency: LatencyModel
    proposals: tuple[Proposal, ...]
    finalists: tuple[Combination, ...]


def _prepare_together(
    plan: SearchPlan, folder: Path, timing: Timing, lines: Progress, storage: str | None
) -> Chosen:
    """Prepare as the other machines do that share a server."""
    if storage is None or not on_server(storage):
        return _prepare(plan, folder, timing, lines)
    wanted = _read_json(folder / PLAN)
    with closing(SharedFindings(storage, folder, wanted, lines.say)) as shared:
        if shared.take(plan.asked):
            lines.say("taking what another process has measured and ranked")
            return _prepare(plan, folder, timing, lines)
        prepared = _prepare(plan, folder, timing, lines)
        if shared.give(plan.asked, (LATENCY, SCORES, CHOSEN)):
            return prepared
        lines.say("another process was first to measure and rank; taking what it has found")
        return _prepare(plan, folder, timing, lines)


def _prepare(plan: SearchPlan, folder: Path, timing: Timing, lines: Progress) -> Chosen:
    """Measure, rank and choose, or read what an earlier call has found."""
    bench = cache(lambda: Bench(plan.recipe, plan.space, timing))
    latency = read_latency(folder / LATENCY, plan.space)
    if latency is None:
        count = len(plan.space.singles())
        lines.say(f"measuring the latency of {count} gates alone, and of random combinations")
        latency = measure_latency(plan.space, bench().time, plan.limits.seed)
        latency.write(folder / LATENCY)
        lines.say(latency.describe())
    latency.check_budget(plan.limits.budget)
    score = ScoreBook(folder / SCORES, lambda: _ranking(plan, folder, lines))
    proposals = _explore(plan, latency, score, folder, lines)
    finalists = _read_chosen(folder / CHOSEN, plan)
    if finalists is None:
        finalists = _choose(plan, proposals, bench(), lines)
        table = {"asked": plan.asked, "finalists": [list(c) for c in finalists]}
        write_text(folder / CHOSEN, json.dumps(table, indent=1) + "\n")
    return Chosen(latency, tuple(proposals), tuple(finalists))


def _ranking(plan: SearchPlan, folder: Path, lines: Progress) -> PathRanking:
    lines.say("training one network that holds all gates")
    recipe = search_recipe(plan.recipe, plan.limits.held_out)
    return PathRanking(recipe, plan.space, folder / PATHS, progress=lines.progress)


def _explore(
    plan: SearchPlan, latency: LatencyModel, score: ScoreBook, folder: Path, lines: Progress
) -> list[Proposal]:
    limits = plan.limits
    count = min(limits.trials, plan.space.size)
    step, began = max(1, count // 5), 0.0

    def say(done: int) -> None:
        nonlocal began
        began = began or time.monotonic()  # the first waits for the network to be trained
        if done % step == 0 and 1 < done < count:
            left = (time.monotonic() - began) / (done - 1) * (count - done)
            lines.say(f"ranked {done}/{count} proposals, about {duration(left)} left")

    return explore(
        plan.space,
        score,
        latency,
        budget=limits.budget,
        trials=limits.trials,
        seed=limits.seed,
        storage=folder / STORAGE,
        say=say,
    )


def _choose(
    plan: SearchPlan, proposals: Sequence[Proposal], bench: Bench, lines: Progress
) -> list[Combination]:
    """Measure the best proposals themselves, and choose among those that meet the budget."""
    limits, space = plan.limits, plan.space
    tried = shortlist(space, proposals, best=limits.best, uniform=limits.uniform)
    lines.say(f"measuring the latency of the {len(tried)} best proposals themselves")
    report = bench.time([p.combination for p in tried])
    found = {p.combination: Ratio.of(report.row(space.label(p.combination))) for p in tried}
    within = [p for p in tried if found[p.combination].high <= limits.budget]
    if not within:
        nearest = min(tried, key=lambda p: found[p.combination].high)
        ratio = found[nearest.combination]
        raise InputError(
            f"budget={limits.budget}: none of the best proposals meets it when measured; the "
            f"nearest is {space.label(nearest.combination)} at {ratio.ratio:.3f}x "
            f"[{ratio.low:.3f}, {ratio.high:.3f}]; give a higher --budget"
        )
    return choose_finalists(space, within, best=limits.best, uniform=limits.uniform)


def _claim(folder: Path, plan: SearchPlan, timing: Timing) -> None:
    """See that a folder is free, or holds this search; note there what is searched."""
    if process().world_size > 1:
        raise InputError(
            "a search shares its trainings among processes that know nothing of each other; start "
            "the same command several times in place of torchrun"
        )
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give a folder to --out")
    wanted = plan.fingerprint() | {"engine": timing.engine, "dtype": timing.dtype or ""}
    wanted |= {"fold": timing.fold}
    wanted = json.loads(json.dumps(wanted))
    if (folder / PLAN).is_file():
        known = _read_json(folder / PLAN)
        if known != wanted:
            changes = spec.show_changes(spec.changes(known, wanted))
            raise InputError(
                f"{folder} holds another search ({changes}); give another folder to --out"
            )
        return
    if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise InputError(f"{folder} holds other files and no search; give another folder to --out")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / PLAN, json.dumps(wanted, indent=1) + "\n")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptFile(f"{path}: not what a search wrote ({error}); delete it") from None


def _read_chosen(path: Path, plan: SearchPlan) -> list[Combination] | None:
    """Return the finalists that were chosen by the same limits."""
    if not path.is_file():
        return None
    table = _read_json(path)
    if table.get("asked") != plan.asked:
        return None
    return [tuple(each) for each in table["finalists"]]


@contextmanager
def _turn(folder: Path, lines: Progress) -> Iterator[None]:
    """Let one process at a time measure, rank and write."""
    lock = FileLock(folder / "search.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        lines.say("another process measures and ranks; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
