"""What a search takes from its recipe and from its caller."""

from dataclasses import replace

import pytest

from convgate.errors import InputError
from convgate.networks.specs import GateSpec
from convgate.searches.plan import make_search
from convgate.train.recipe import load_recipe
from convgate.train.sections import StudySpec


@pytest.fixture(scope="module")
def digits():
    return load_recipe("digits/demo")


def test_gates_come_from_the_recipes_study_and_its_place_from_its_gate(digits):
    recipe = replace(digits, gate=GateSpec(name="ean", at="spatial", start="identity"))
    plan = make_search(recipe, {})
    assert plan.space.gates == tuple(g for g in digits.study.gates if g != "none")
    assert (plan.space.at, plan.space.start) == ("spatial", "identity")
    assert plan.recipe.gate is None and plan.recipe.study is None


def test_what_the_caller_says_comes_first(digits):
    choices = {"gates": ["se"], "at": "stage_end", "stages": (1, 3), "start": "paper"}
    plan = make_search(digits, choices | {"settings": ["schedule.epochs=4", "reduction=2"]})
    assert plan.space.choices == {1: ("none", "se"), 3: ("none", "se")}
    assert (plan.space.at, plan.space.start) == ("stage_end", "paper")
    assert plan.space.options == {"reduction": 2} and plan.recipe.schedule.epochs == 4


def test_options_of_the_study_go_along_where_they_agree(digits):
    options = {"se": {"reduction": 4}, "seln": {"reduction": 4}, "ean": {"groups": 2}}
    study = StudySpec(gates=("none", "se", "seln"), options=options)
    assert make_search(replace(digits, study=study), {}).space.options == {"reduction": 4}
    unlike = replace(study, options=options | {"seln": {"reduction": 8}})
    with pytest.raises(InputError, match="reduction is 4 and 8, and the gates of one network"):
        make_search(replace(digits, study=unlike), {})


def test_a_recipe_for_objects_is_refused():
    with pytest.raises(InputError, match="task is to detect, and a search trains classifiers"):
        make_search("pennfudan/retinanet_lite0", {"gates": ["se"]})


def test_another_seed_or_gate_is_another_search_and_a_budget_is_not(digits):
    plan = make_search(digits, {"gates": ["se"]})
    same = make_search(digits, {"gates": ["se"], "budget": 1.5, "best": 4})
    assert same.fingerprint() == plan.fingerprint() and same.asked != plan.asked
    for change in ({"gates": ["eca"]}, {"seed": 1}, {"held_out": 0.5}, {"stages": (2,)}):
        other = make_search(digits, {"gates": ["se"]} | change)
        assert other.fingerprint() != plan.fingerprint()
