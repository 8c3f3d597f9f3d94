"""Which combinations to look at: Optuna's samplers, score against latency, within the budget."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler, BruteForceSampler, NSGAIISampler
from sqlalchemy import event

from convgate.searches.latency import LatencyModel
from convgate.searches.space import Combination, Space
from convgate.studies.statistics import pareto_front

STUDY = "search"
UNRANKED = float("-inf")
"""The score of a combination above the budget, which is not looked at."""


@dataclass(frozen=True)
class Proposal:
    """A combination that the search looked at."""

    combination: Combination
    score: float  # minus the loss on the pictures held out: it ranks, and is no accuracy
    predicted: float  # its latency ratio by the sum


def explore(
    space: Space,
    score: Callable[[Combination], float],
    latency: LatencyModel,
    *,
    budget: float,
    trials: int,
    seed: int,
    storage: Path,
    say: Callable[[int], None] = lambda done: None,
) -> list[Proposal]:
    """Look at up to ``trials`` combinations, and return those within the budget, once each.

    Where a space has no more than that, all of it is looked at. Nothing is continued: what is
    known already costs nothing, so a stopped search takes the same way again.

    Args:
        space: What there is to choose.
        score: Of a combination, the higher the better.
        latency: The sum, and how far it is off.
        budget: The latency allowed, over that of the plain network.
        trials: How many of Optuna's trials.
        seed: Of its sampler.
        storage: Gets the trials as an Optuna storage, which its dashboard opens.
        say: Told how many trials are done.
    """
    study = _new_study(space, trials, seed)
    found: dict[Combination, Proposal] = {}

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        names = zip(space.stages, space.choices.values(), strict=True)
        combination = tuple(trial.suggest_categorical(f"stage {s}", each) for s, each in names)
        predicted = latency.predict(combination)
        trial.set_constraint("above the budget", predicted - latency.tolerance - budget)
        if not latency.may_fit(combination, budget):
            return UNRANKED, predicted
        found[combination] = Proposal(combination, score(combination), predicted)
        return found[combination].score, predicted

    for combination in (space.plain, *space.singles()):
        params = {f"stage {s}": g for s, g in zip(space.stages, combination, strict=True)}
        study.enqueue_trial(params)
    study.optimize(objective, n_trials=trials, callbacks=[lambda _, t: say(t.number + 1)])
    _keep(study, storage)
    return list(found.values())


def _new_study(space: Space, trials: int, seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # an error is told where it is raised
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = _sampler(space, trials, seed)
        study = optuna.create_study(
            study_name=STUDY, directions=["maximize", "minimize"], sampler=sampler
        )
        study.set_metric_names(["score", "latency ratio"])
    return study


def _keep(study: optuna.Study, storage: Path) -> None:
    """Write a study into a file of Optuna's, in one step."""
    part = storage.with_name(f".{storage.name}.part")
    part.unlink(missing_ok=True)
    target = optuna.storages.RDBStorage(f"sqlite:///{part}")
    target.engine.dispose()
    event.listen(target.engine, "connect", _without_waiting)
    optuna.copy_study(from_study_name=STUDY, from_storage=study._storage, to_storage=target)
    target.engine.dispose()
    part.replace(storage)


def _without_waiting(connection: Any, record: object) -> None:
    """Let SQLite not wait for the disk after every line: the file takes its place when whole."""
    connection.execute("PRAGMA synchronous = OFF")


def _sampler(space: Space, trials: int, seed: int) -> BaseSampler:
    if space.size <= trials:
        return BruteForceSampler(seed=seed)
    population = max(4, min(50, trials // 4))
    return NSGAIISampler(population_size=population, seed=seed)


def ordered(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Return the proposals in the order to try them: those on the Pareto front, then by score."""
    front = set(pareto_front([(p.predicted, p.score) for p in proposals]))
    place = {p.combination: i not in front for i, p in enumerate(proposals)}
    return sorted(proposals, key=lambda p: (place[p.combination], -p.score, p.predicted))
