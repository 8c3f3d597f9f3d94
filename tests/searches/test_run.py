"""A search as a whole: its files, its answer, stopped and continued, refused."""

import json
import os
import signal
from dataclasses import replace

import pytest
import torch

from convgate import load_recipe, spec
from convgate.errors import InputError
from convgate.searches import run as module
from convgate.searches import search
from convgate.searches.ranking import PathRanking
from convgate.studies import Steps
from convgate.train.fit import fit
from convgate.train.recipe import Recipe
from fixtures.fake_search import FakeBench
from fixtures.fake_study import fake_fit, fake_measure
from fixtures.processes import process

CHOICES = {"gates": ["se", "eca"], "stages": (2, 3), "seeds": 2, "best": 1, "uniform": 1}
CHOICES |= {"budget": 1.08, "progress": False}


@pytest.fixture
def tiny():
    """Digits by the hundred, in one short epoch."""
    recipe = load_recipe("digits/demo")
    return replace(
        recipe,
        data=replace(recipe.data, train_count=100),
        schedule=replace(recipe.schedule, epochs=1, warmup_epochs=0),
        study=None,
    )


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.setattr(module, "Bench", FakeBench)


def steps(fit=fake_fit):
    return Steps(check=lambda *_: None, fit=fit, measure=fake_measure)


def numbers(out):
    """All that a search found, without when and where."""
    summary = json.loads((out / "summary.json").read_text())
    rows = summary["confirmed"]["rows"]
    return summary["proposals"], [(row["label"], row["top1"]) for row in rows], summary["best"]


def test_a_search_leaves_a_recipe_a_page_and_an_answer(tiny, bench, tmp_path):
    result = search(tiny, tmp_path / "s", steps=steps(), **CHOICES)
    left = {path.name for path in (tmp_path / "s").iterdir()}
    assert left >= {"best.toml", "report.html", "report.md", "summary.json", "search.db"}
    assert left >= {"network.svg", "singles.svg", "proposals.svg", "proposals.csv", "confirm"}
    assert result.answer == (tmp_path / "s" / "report.md").read_text().splitlines()[0]
    ratios = {result.space.label(p.combination): p.predicted for p in result.proposals}
    assert ratios == pytest.approx(  # se 0.05, eca 0.02; both stages se is above the budget
        {"none": 1, "2=se": 1.05, "3=se": 1.05, "2=eca": 1.02, "3=eca": 1.02, "eca": 1.04}
        | {"2=se+3=eca": 1.07, "2=eca+3=se": 1.07}
    )
    best = spec.load(Recipe, tmp_path / "s" / "best.toml")
    assert best == replace(result.recipe, note={})


def test_scores_are_of_pictures_that_the_confirmation_trains_on(tiny, bench, tmp_path):
    seen = []

    def watch(recipe, out, **how):
        seen.append(recipe.data.held_out)
        return fake_fit(recipe, out, **how)

    search(tiny, tmp_path / "s", steps=steps(watch), **CHOICES)
    ranked = spec.load(Recipe, tmp_path / "s" / "paths" / "recipe.toml")
    assert ranked.data.held_out == 0.2 and set(seen) == {0.0}


def test_a_search_that_was_stopped_anywhere_ends_alike(tiny, bench, tmp_path, monkeypatch):
    """Stopped in the fourth score; then in the trainings in full; then at the page."""
    whole = search(tiny, tmp_path / "whole", steps=steps(), **CHOICES)
    out, calls = tmp_path / "parts", []

    def stop_at(count):
        def score(self, combination, real=PathRanking.__call__):
            calls.append(combination)
            if len(calls) == count:
                raise KeyboardInterrupt
            return real(self, combination)

        return score

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(PathRanking, "__call__", stop_at(4))
        search(tiny, out, steps=steps(), **CHOICES)
    assert len(json.loads((out / "scores.json").read_text())) == 3

    def interrupted(*_, **how):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(PathRanking, "__call__", stop_at(0))
        search(tiny, out, steps=steps(interrupted), **CHOICES)
    assert len(calls) == 4 + len(whole.proposals) - 3  # what was scored is not scored again
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(module, "write_search", interrupted)
        search(tiny, out, steps=steps(), **CHOICES)
    search(tiny, out, steps=steps(), **CHOICES)
    assert numbers(out) == numbers(tmp_path / "whole")


def search_that_dies(recipe, out):
    """Die by SIGKILL in the third score."""
    torch.set_num_threads(1)
    module.Bench, real, scored = FakeBench, PathRanking.__call__, []

    def score(self, combination):
        scored.append(combination)
        if len(scored) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, combination)

    PathRanking.__call__ = score
    search(recipe, out, steps=steps(), **CHOICES)


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on(tiny, bench, tmp_path):
    with process(search_that_dies, tiny, tmp_path / "killed") as killed:
        killed.join(120)
    assert killed.exitcode == -signal.SIGKILL
    search(tiny, tmp_path / "killed", steps=steps(), **CHOICES)
    search(tiny, tmp_path / "whole", steps=steps(), **CHOICES)
    assert numbers(tmp_path / "killed") == numbers(tmp_path / "whole")


@pytest.mark.slow
def test_the_answer_is_reproduced_by_training_its_recipe(tiny, bench, tmp_path):
    result = search(tiny, tmp_path / "s", steps=steps(fit), **CHOICES)
    recipe = result.space.recipe(result.study.recipe, result.finalists[1])
    again = fit(replace(recipe, note={}), tmp_path / "again", progress=False)
    assert again.score == result.study.rows[1].top1[0]


def test_a_folder_of_another_search_is_refused(tiny, bench, tmp_path):
    search(tiny, tmp_path / "s", steps=steps(), **CHOICES)
    with pytest.raises(InputError, match="holds another search"):
        search(tiny, tmp_path / "s", steps=steps(), **CHOICES | {"gates": ["se"]})


def test_another_budget_is_another_answer_of_the_same_search(tiny, bench, tmp_path):
    search(tiny, tmp_path / "s", steps=steps(), **CHOICES)
    result = search(tiny, tmp_path / "s", steps=steps(), **CHOICES | {"budget": 1.03})
    assert {result.space.label(p.combination) for p in result.proposals} == {
        "none", "2=eca", "3=eca",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"budget": 1.01}, "nothing meets it; the cheapest is"),
        ({"budget": 0.9}, "a multiple of the plain network's latency, above 1"),
        ({"gates": ["none"]}, "one point"),
        ({"gates": None}, r"has no \[study\] section; name the gates"),
        ({"held_out": 0.0}, "a share of the training pictures"),
        ({"trials": 0}, "a search needs at least 1"),
    ],
)
def test_what_cannot_be_searched_is_said_in_a_sentence(tiny, bench, tmp_path, change, sentence):
    with pytest.raises(InputError, match=sentence):
        search(tiny, tmp_path / "s", steps=steps(), **CHOICES | change)


def test_a_folder_with_other_files_is_left_alone(tiny, bench, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="holds other files and no search"):
        search(tiny, tmp_path, steps=steps(), **CHOICES)
