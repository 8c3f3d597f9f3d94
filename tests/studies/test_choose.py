from dataclasses import replace

import pytest

from convgate.errors import InputError
from convgate.studies.choose import cell_recipe, cells_of, choose, essence
from convgate.studies.grid import Cell, Variant
from convgate.train.recipe import GateSpec, StudySpec


def test_choices_replace_the_recipes_own(recipe):
    own = replace(recipe, study=StudySpec(gates=("se",), sites=("spatial",), seeds=4, budget=1.3))
    _, study = choose(own, {"gates": ["eca", "ca"], "seeds": None})
    assert (study.gates, study.sites, study.seeds) == (("eca", "ca"), ("spatial",), 4)
    assert (study.budget, study.models) == (1.3, ("resnet8",))


def test_a_recipe_without_a_study_lends_its_gates_place(recipe):
    with pytest.raises(InputError, match=r"no \[study\] section; name the gates"):
        choose(recipe, {})
    placed = replace(recipe, gate=GateSpec(name="se", at="spatial"))
    assert choose(placed, {"gates": ["eca"]})[1].sites == ("spatial",)
    replaced = replace(recipe, gate=GateSpec(name="seln", replaces="se"))
    assert choose(replaced, {"gates": ["eca"]})[1].sites == ("se",)


def test_options_of_an_unknown_gate_are_refused(recipe):
    study = StudySpec(gates=("ean",), options={"selm": {"reduction": 4}})
    with pytest.raises(
        InputError, match=r"study\.options: unknown gate 'selm'; did you mean 'seln'"
    ):
        choose(replace(recipe, study=study), {})


def test_seeds_count_up_from_the_recipes(recipe):
    late = replace(recipe, run=replace(recipe.run, seed=7))
    _, study = choose(late, {"gates": ["se"], "seeds": 2})
    assert sorted({cell.seed for cell in cells_of(late, study)}) == [7, 8]


def test_recipe_of_a_cell(recipe):
    template = GateSpec(name="seln", stages=(2, 3), start="identity", options={"reduction": 4})
    recipe = replace(recipe, gate=template)
    base = cell_recipe(recipe, Cell(Variant("resnet8"), 5), {})
    assert base.gate is None and base.run.seed == 5 and base.study is None
    cell = Cell(Variant("resnet20", "ean", "spatial"), 1)
    found = cell_recipe(recipe, cell, {"groups": 4})
    assert found.model.name == "resnet20"
    assert found.gate == GateSpec(
        name="ean", at="spatial", stages=(2, 3), start="identity", options={"groups": 4}
    )
    own = cell_recipe(recipe, Cell(Variant("resnet8", "ean", "se"), 1), {})
    assert own.gate is not None and own.gate.replaces == "se"


def test_essence_is_what_changes_the_weights(recipe):
    moved = replace(
        recipe,
        data=replace(recipe.data, path="elsewhere", workers=5),
        study=StudySpec(gates=("se",)),
        source="x",
    )
    assert essence(moved) == essence(recipe)
    assert essence(replace(recipe, run=replace(recipe.run, batch_size=32))) != essence(recipe)
