"""What Optuna proposes, and which of it is trained in full."""

import optuna
import pytest

from convgate.searches.finalists import choose_finalists, shortlist
from convgate.searches.latency import LatencyModel, Ratio
from convgate.searches.proposals import Proposal, explore, ordered
from convgate.searches.space import Space

WORTH = {"none": 0.0, "se": 1.0, "eca": 0.6, "ela": -1.0}
COST = {"none": 0.0, "se": 0.05, "eca": 0.02, "ela": 0.10}


def space_of(stages):
    return Space("block_end", dict.fromkeys(range(1, stages + 1), tuple(WORTH)))


def latency_of(space):
    alone = {c: 1 + sum(COST[g] for g in c) for c in space.singles()}
    return LatencyModel(1.0, {c: Ratio(r, r, r, r) for c, r in alone.items()}, {}, space)


def worth(combination):
    """Later stages are worth more; nothing else matters."""
    return 50 + sum((i + 1) * WORTH[g] for i, g in enumerate(combination))


def looked(space, folder, budget, trials=100, seed=0, score=worth):
    return explore(
        space,
        score,
        latency_of(space),
        budget=budget,
        trials=trials,
        seed=seed,
        storage=folder / "search.db",
    )


def test_a_small_space_is_looked_at_as_a_whole_within_the_budget(tmp_path):
    space = space_of(2)
    found = looked(space, tmp_path, 1.075)
    cost = {c: COST[c[0]] + COST[c[1]] for c in ((a, b) for a in WORTH for b in WORTH)}
    assert {p.combination for p in found} == {c for c, x in cost.items() if x < 0.0751}
    assert all(p.score == worth(p.combination) for p in found)


def test_what_is_above_the_budget_is_never_scored(tmp_path):
    asked = []
    looked(space_of(2), tmp_path, 1.03, score=lambda c: asked.append(c) or 1.0)
    assert asked and not any("se" in c or "ela" in c for c in asked)


def test_a_large_space_is_searched_by_the_sampler_and_the_best_is_found(tmp_path):
    space = space_of(5)  # 1,024 points
    found = looked(space, tmp_path, 1.12, trials=200)
    assert len(found) < 200
    best = max(found, key=lambda p: p.score)
    # 12 hundredths: stage 5 and 4 se (10), stage 3 eca (2)
    assert best.score >= worth(("none", "none", "eca", "se", "se")) - 1


def test_the_same_seed_takes_the_same_way(tmp_path):
    space = space_of(5)
    (tmp_path / "b").mkdir()
    first, again, other = (
        looked(space, folder, 1.1, trials=60, seed=seed)
        for folder, seed in ((tmp_path, 0), (tmp_path / "b", 0), (tmp_path, 1))
    )
    assert first == again and first != other


def test_optunas_own_tools_open_the_storage(tmp_path):
    found = looked(space_of(2), tmp_path, 1.075)
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 'search.db'}")
    assert study.metric_names == ["score", "latency ratio"]
    best = max(found, key=lambda p: p.score)
    assert best.score in {trial.values[0] for trial in study.best_trials}


def proposal(*gates, score, predicted):
    return Proposal(gates, score, predicted)


@pytest.fixture
def proposals():
    return [
        proposal("none", "none", score=50, predicted=1.00),
        proposal("se", "none", score=49, predicted=1.05),
        proposal("eca", "eca", score=51, predicted=1.04),
        proposal("none", "se", score=53, predicted=1.05),
        proposal("eca", "se", score=54, predicted=1.07),
        proposal("se", "se", score=52, predicted=1.10),
        proposal("none", "eca", score=50.5, predicted=1.02),
    ]


def test_the_front_comes_first_and_then_the_scores(proposals):
    assert [p.score for p in ordered(proposals)] == [54, 53, 51, 50.5, 50, 52, 49]


def test_finalists_are_the_best_and_each_gate_in_as_many_stages_as_it_may(proposals):
    space = Space("block_end", {1: ("none", "se", "eca"), 2: ("none", "se", "eca")})
    chosen = choose_finalists(space, proposals, best=1, uniform=2)
    assert chosen == [("eca", "se"), ("se", "se"), ("eca", "eca")]
    assert choose_finalists(space, proposals, best=2, uniform=0) == [("eca", "se"), ("none", "se")]


def test_the_plain_network_is_no_finalist_and_nothing_is_listed_twice(proposals):
    space = Space("block_end", {1: ("none", "se", "eca"), 2: ("none", "se", "eca")})
    assert space.plain not in choose_finalists(space, proposals, best=9, uniform=2)
    listed = [p.combination for p in shortlist(space, proposals, best=1, uniform=1)]
    assert len(listed) == len(set(listed)) and ("se", "se") in listed
