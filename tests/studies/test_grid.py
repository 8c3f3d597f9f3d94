from dataclasses import replace

import pytest

from convgate.errors import InputError
from convgate.networks.specs import GateSpec
from convgate.studies.grid import (
    Cell,
    Variant,
    cell_recipe,
    fingerprint,
    grid_spec,
    make_cells,
    make_grid,
)
from convgate.train.sections import StudySpec


def test_every_combination_once_seed_by_seed():
    variants = make_grid(["a", "b"], ["se", "none", "eca", "se"], ["block_end", "spatial"])
    assert len(variants) == len(set(variants)) == 2 * (1 + 2 * 2)
    assert [v for v in variants if v.is_base] == [Variant("a"), Variant("b")]
    cells = make_cells(variants, 2, first=3)
    assert len(cells) == len(set(cells)) == 2 * 10
    assert [cell.seed for cell in cells] == [3] * 10 + [4] * 10


def test_base_is_always_there():
    assert make_grid(["a"], ["se"], ["block_end"])[0] == Variant("a")


@pytest.mark.parametrize(
    ("models", "gates", "sites", "sentence"),
    [
        (["a"], ["selm"], ["x"], "unknown gate 'selm'; did you mean 'seln'?"),
        (["a"], ["se"], [], "names no site"),
        (["a"], [], ["x"], "names no gate"),
        ([], ["se"], ["x"], "names no backbone"),
    ],
)
def test_wrong_grids(models, gates, sites, sentence):
    with pytest.raises(InputError, match=sentence.replace("?", r"\?")):
        make_grid(models, gates, sites)


def test_no_seed_is_no_study():
    with pytest.raises(InputError, match="at least one seed"):
        make_cells([Variant("a")], 0)


def test_a_named_variant_is_compared_with_its_family():
    base = Variant("net", name="net-s", family="net-s")
    rival = Variant("net", "se", "block_end", "net-s+se", "net-s")
    other = Variant("other", name="swin-s", family="net-s")  # another network, without a gate
    assert base.is_base and not rival.is_base and not other.is_base
    assert {v.group for v in (base, rival, other)} == {"net-s"}
    assert (rival.label, rival.kind, other.kind) == ("net-s+se", "se", "swin-s")
    assert Variant("net", name="plain", family="plain", gate="none", site="se").is_base


def test_a_swept_variant_keeps_its_backbones_base():
    swept = Variant("net", "ean", "block_end", setting="groups=8")
    assert not swept.is_base and swept.group == "net"
    assert swept.label == "ean @ block_end groups=8"


def test_folders_tell_cells_apart():
    sites = ["block_end", "layer[34].*.bn2", "layer_34_._.bn2", "a/b", "a_b", "a b", "..", "a"]
    variants = make_grid(["torchvision/resnet50", "torchvision_resnet50"], ["se", "eca"], sites)
    swept = [Variant("a", "se", "b", setting=f"groups={n}") for n in (1, 8, "1=8", "1/8")]
    named = [Variant("m", "se", "b", name, "a") for name in ("a", "a+se", "a_se", "a se")]
    cells = make_cells([*variants, *swept, *named], 2)
    folders = {cell.folder for cell in cells}
    assert len(folders) == len(cells)
    assert all(folder.count("/") == 1 and ".." not in folder.split("/") for folder in folders)


def test_cell_survives_json():
    cell = Cell(Variant("a", "se", "block_end"), 3)
    assert Cell.from_dict(cell.to_dict()) == cell
    row = Cell(Variant("a", "se", "block_end", "row", "base", "groups=8"), 3)
    assert Cell.from_dict(row.to_dict()) == row
    assert str(cell) == "se block_end seed 3"


def test_recipe_of_a_cell(recipe):
    template = GateSpec(name="seln", stages=(2, 3), start="identity", options={"reduction": 4})
    recipe = replace(recipe, gate=template)
    plain = Variant("resnet8")
    base = cell_recipe(recipe, Cell(plain, 5), grid_spec(recipe, plain, {}))
    assert base.gate is None and base.run.seed == 5 and base.study is None
    variant = Variant("resnet20", "ean", "spatial")
    found = cell_recipe(recipe, Cell(variant, 1), grid_spec(recipe, variant, {"groups": 4}))
    assert found.model.name == "resnet20"
    assert found.gate == GateSpec(
        name="ean", at="spatial", stages=(2, 3), start="identity", options={"groups": 4}
    )
    own = grid_spec(recipe, Variant("resnet8", "ean", "se"), {})
    assert own.gate is not None and own.gate.replaces == "se"


def test_fingerprint_is_what_changes_the_weights(recipe):
    moved = replace(
        recipe,
        data=replace(recipe.data, path="elsewhere", workers=5),
        study=StudySpec(gates=("se",)),
        source="x",
    )
    assert fingerprint(moved) == fingerprint(recipe)
    assert fingerprint(replace(recipe, run=replace(recipe.run, batch_size=32))) != fingerprint(
        recipe
    )
