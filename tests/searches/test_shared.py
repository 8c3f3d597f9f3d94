"""A search on machines that share a server and no folder: what the first has found counts."""

import json
from dataclasses import replace

import pytest

from convgate import load_recipe
from convgate.errors import InputError
from convgate.searches import run as module
from convgate.searches import search
from convgate.searches.ranking import PathRanking
from convgate.studies import Steps
from convgate.studies.trials import Trials
from fixtures.fake_search import FakeBench
from fixtures.fake_study import fake_fit, fake_measure
from fixtures.postgres import PLAIN

CHOICES = {"gates": ["se", "eca"], "stages": (2, 3), "seeds": 1, "best": 1, "uniform": 1}
CHOICES |= {"budget": 1.08, "progress": False}


@pytest.fixture
def find(monkeypatch, tmp_path, postgres):
    """Search as a machine with a folder of its own; its combinations score as it is told."""
    monkeypatch.setattr(module, "Bench", FakeBench)
    recipe = load_recipe("digits/demo")
    data = replace(recipe.data, train_count=100)
    schedule = replace(recipe.schedule, epochs=1, warmup_epochs=0)
    tiny = replace(recipe, data=data, schedule=schedule, study=None)

    def run(machine, favourite, before=lambda: None, **more):
        asked = []

        def score(self, combination):
            if not asked:
                before()
                monkeypatch.setattr(PathRanking, "__call__", score)
            asked.append(combination)
            return float(combination == favourite)

        monkeypatch.setattr(PathRanking, "__init__", lambda self, *_, **__: None)
        monkeypatch.setattr(PathRanking, "__call__", score)
        steps = Steps(check=lambda *_: None, fit=fake_fit, measure=fake_measure)
        out = tmp_path / machine / "photos"
        result = search(tiny, out, storage=postgres.url, steps=steps, **CHOICES | more)
        return result, asked

    return run


def test_the_second_machine_takes_what_the_first_has_found(find, tmp_path, postgres):
    first, asked = find("one", ("se", "none"))
    second, asked_again = find("two", ("none", "eca"))
    assert asked and not asked_again
    assert ("se", "none") in first.finalists
    assert first.finalists == second.finalists
    for name in ("latency.json", "scores.json", "finalists.json"):
        one, two = ((tmp_path / m / "photos" / name).read_text() for m in ("one", "two"))
        assert one == two
    trained = list(tmp_path.rglob("cells.log"))
    cells = [line.split(" ", 1)[1] for log in trained for line in log.read_text().splitlines()]
    assert len(cells) == len(set(cells)) == len(first.finalists)  # each once, on one of them
    study = Trials(tmp_path / "three" / "confirm", f"{postgres.url}?study=photos")
    assert {record.state for record in study.records()} == {"done"}
    study.close()


def test_who_is_second_to_find_something_takes_what_the_first_has(find):
    """The other machine begins and ends while this one ranks."""
    others = []

    def other():
        others.append(find("one", ("se", "none"))[0])

    result, asked = find("two", ("none", "eca"), before=other)
    assert asked and result.finalists == others[0].finalists


def test_another_search_of_the_same_name_is_refused_without_the_password(find):
    find("one", ("se", "none"))
    with pytest.raises(InputError, match="another search under the name photos/search") as said:
        find("two", ("se", "none"), gates=["se"])
    assert PLAIN not in str(said.value)


def test_another_budget_asks_again(find, tmp_path):
    find("one", ("se", "none"))
    result, _ = find("two", ("none", "eca"), budget=1.03)
    known = json.loads((tmp_path / "two" / "photos" / "finalists.json").read_text())
    assert known["asked"]["budget"] == 1.03
    assert ("none", "eca") in result.finalists
