"""A recipe is a row's if it builds the row's network, however it is spelled."""

from dataclasses import replace

import pytest

from convgate.networks.specs import GateSpec
from convgate.papers.recipes import same_network, trains
from convgate.papers.table import list_tables, load_table
from convgate.train.recipe import override


def changed(recipe, **gate):
    return replace(recipe, gate=replace(recipe.gate, **gate))


def test_every_rows_command_trains_the_row_and_no_other_of_its_table(recipe_of):
    """Rows of equal networks are told apart by their data; tied gates are trained as two."""
    known = 0
    for name in list_tables():
        table = load_table(name)
        rows = [r for r in table.row if r.build and r.build.model and (r.recipe or table.recipe)]
        for row in [r for r in rows if r.recipe != ""][:6]:
            recipe = recipe_of(name, row.name)
            found = [r.name for r in table.row if trains(table, r, recipe)]
            twins = [r.name for r in rows if r.build == row.build and r.recipe == row.recipe]
            assert found == twins and row.name in found, (name, row.name)
            known += 1
    assert known > 40


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"options": {"reduction": 16, "min_hidden": 8, "bias": True}}, True),  # a default, said
        ({"options": {"reduction": 8, "min_hidden": 8}}, False),
        ({"at": "spatial"}, False),
        ({"stages": (1, 2)}, False),
        ({"start": "identity"}, False),
        ({"name": "seln", "options": {"reduction": 16}}, False),
        ({"replaces": "se"}, False),
    ],
)
def test_a_gate_is_its_name_options_and_place(recipe_of, change, same):
    table = load_table("ean.2")
    recipe = changed(recipe_of("ean.2", "resnet56+se"), **change)
    assert same_network(table.find("resnet56+se").build, recipe) is same


def test_a_preset_is_what_it_is_a_preset_of(recipe_of):
    """ELA-S by section 3.3 of its paper: kernel 5, groups of 8 channels, 16 groups of the norm."""
    table = load_table("ela.5")
    row = table.find("resnet50+ela-s")
    recipe = recipe_of("ela.5", row.name)
    spelled = {"kernel_size": 5, "group_width": 8, "num_groups": 16}
    for name, options in (("ela", spelled), ("ela_s", {})):
        assert same_network(row.build, changed(recipe, name=name, options=options))
    assert not same_network(row.build, changed(recipe, name="ela_l", options={}))


def test_where_a_gate_replaces_another_its_site_does_not_matter(recipe_of):
    table = load_table("selnext.7")
    recipe = recipe_of("selnext.7", "seln")
    assert same_network(table.find("seln").build, changed(recipe, at="se"))
    assert not same_network(table.find("seln").build, changed(recipe, replaces=None))


def test_taking_attention_away_is_a_network_of_its_own(recipe_of):
    table = load_table("selnext.7")
    bare, own = table.find("no-attention"), table.find("baseline")
    recipe = recipe_of("selnext.7", "no-attention")
    assert same_network(bare.build, recipe) and not same_network(own.build, recipe)
    plain = replace(recipe, gate=GateSpec(name="none"))  # nothing is taken away
    assert same_network(own.build, plain) and not same_network(bare.build, plain)


def test_a_models_options_count(recipe_of):
    row = load_table("ean.2").find("resnet56")
    recipe = recipe_of("ean.2", "resnet56")
    assert not same_network(row.build, override(recipe, 'model.options={shortcut="pad"}'))


def test_data_sets_count_where_the_table_has_several(recipe_of):
    table = load_table("ean.1")
    row = table.find("mobilenetv2+se")
    recipe = recipe_of("ean.1", row.name, 'data.name="cifar10"')
    assert trains(table, row, recipe) and trains(table, row, recipe, "cifar10")
    assert not trains(table, row, recipe, "cifar100")
    assert not trains(table, row, override(recipe, 'data.name="digits"'))
    one = load_table("ean.2")
    other = recipe_of("ean.2", "resnet56", 'data.name="cifar10"')
    assert trains(one, one.find("resnet56"), other)  # said in words beside the number
