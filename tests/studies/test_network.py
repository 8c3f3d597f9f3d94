import json
from dataclasses import replace

from convgate.studies.grid import Cell, Variant
from convgate.studies.network import (
    Network,
    cell_recipe,
    essence,
    filled,
    grid_network,
    network_of,
    read_network,
    write_network,
)
from convgate.studies.trial_records import Record
from convgate.train.recipe import GateSpec, ModelSpec, StudySpec


def test_recipe_of_a_cell(recipe):
    template = GateSpec(name="seln", stages=(2, 3), start="identity", options={"reduction": 4})
    recipe = replace(recipe, gate=template)
    plain = Variant("resnet8")
    base = cell_recipe(recipe, Cell(plain, 5), grid_network(recipe, plain, {}))
    assert base.gate is None and base.run.seed == 5 and base.study is None
    variant = Variant("resnet20", "ean", "spatial")
    found = cell_recipe(recipe, Cell(variant, 1), grid_network(recipe, variant, {"groups": 4}))
    assert found.model.name == "resnet20"
    assert found.gate == GateSpec(
        name="ean", at="spatial", stages=(2, 3), start="identity", options={"groups": 4}
    )
    own = grid_network(recipe, Variant("resnet8", "ean", "se"), {})
    assert own.gate is not None and own.gate.replaces == "se"


def test_a_network_survives_its_storage():
    gate = GateSpec(name="none", replaces="se", stages=(2, 3), options={"bias": False})
    network = Network(model=ModelSpec(name="resnet8", options={"shortcut": "conv"}), gate=gate)
    assert read_network(write_network(network)) == network
    assert write_network(network)["options"] == {"bias": False}


def test_cells_of_older_studies_are_the_grids(recipe):
    """They hold the gate's options and no network."""
    record = Record(Cell(Variant("resnet8", "se", "block_end"), 0), "done", options={"divisor": 8})
    network = network_of(recipe, record)
    assert network.gate == GateSpec(name="se", options={"divisor": 8})
    assert network.model == recipe.model


def test_essence_is_what_changes_the_weights(recipe):
    moved = replace(
        recipe,
        data=replace(recipe.data, path="elsewhere", workers=5),
        study=StudySpec(gates=("se",)),
        source="x",
    )
    assert essence(moved) == essence(recipe)
    assert essence(replace(recipe, run=replace(recipe.run, batch_size=32))) != essence(recipe)


def test_an_essence_from_before_a_key_means_its_default(recipe):
    older = json.loads(essence(recipe))
    assert older["optimizer"].pop("layer_decay") == 1
    assert filled(json.dumps(older)) == essence(recipe)
    older["optimizer"]["lr"] = 0.5
    assert filled(json.dumps(older)) != essence(recipe)
    assert filled('{"unknown": 1}') == '{"unknown": 1}'
