"""Rows of printed tables as a study: the networks they build, and what cannot be trained."""

import re
from dataclasses import replace

import pytest

from convgate.errors import InputError
from convgate.papers.preset import chosen_preset, list_presets, open_preset
from convgate.papers.table import agrees, list_tables, load_table
from convgate.studies import run_study
from convgate.studies.grid import Cell, cell_recipe
from convgate.studies.plan import make_plan
from convgate.train.build import build_model


def choose(recipe, choices):
    """Choose as the command line does, with a table and rows by their names."""
    rest = dict(choices)
    named = rest.pop("preset", None), rest.pop("rows", None)
    preset = chosen_preset(*named, any_recipe=recipe is not None)
    return make_plan(recipe, {**rest, "preset": preset})


ROWS = [
    ("ean.1", "mobilenetv2", 100, "2.35"),
    ("ean.1", "mobilenetv2+se", 100, "2.92"),
    ("ean.1", "mobilenetv2+ca", 100, "3.21"),
    ("ean.2", "resnet56", 100, "0.86"),
    ("ean.2", "resnet56+se", 100, "0.88"),
    ("selnext.7", "baseline", 1000, "5.48"),
    ("selnext.7", "no-attention", 1000, "3.97"),
]


@pytest.mark.parametrize(("table", "row", "classes", "printed"), ROWS)
def test_a_cell_trains_the_network_whose_count_is_printed(table, row, classes, printed):
    """Read beside the table: the printed digits are in the file of the table, too."""
    assert load_table(table).find(row).reported["params"] == printed
    plan = choose(None, {"preset": table, "rows": [row]})
    variant = next(v for v in plan.networks if v.name == row)
    recipe = cell_recipe(plan.recipe, Cell(variant, 0), plan.networks[variant])
    model = build_model(recipe, num_classes=classes, in_chans=3)
    count = sum(p.numel() for p in model.parameters())
    assert agrees(count, printed, "M", truncated=table == "selnext.7")  # which cuts its digits


def test_one_gate_with_several_options_is_several_variants():
    plan = choose(None, {"preset": "ela.4", "rows": ["resnet50*"]})
    options = {v.name: network.options for v, network in plan.networks.items()}
    assert options.pop("resnet50") == {}
    assert len(options) == 5 and len({str(o) for o in options.values()}) == 5
    assert {v.gate for v in plan.networks} == {"none", "ela"}


def test_each_row_is_compared_with_its_own_base():
    plan = choose(None, {"preset": "ean.2"})
    bases = [v.name for v in plan.networks if v.is_base]
    assert bases == ["resnet50", "resnet101", "resnet56", "wrn28-10", "resnext29"]
    assert {v.group for v in plan.networks} == set(bases)
    for variant in plan.networks:
        assert variant.name.startswith(variant.group)
    table = load_table("ean.2")
    assert [v.name for v in plan.networks] == [row.name for row in table.row]
    for row, network in zip(table.row, plan.networks.values(), strict=True):
        assert (network.model.name, network.model.options) == (row.build.model, row.build.options)
        assert network.gate == (row.build.gate and row.build.gate.settled(learned=False))


def test_a_chosen_row_brings_its_base():
    plan = choose(None, {"preset": "selnext.7", "rows": ["seln"]})
    assert [v.label for v in plan.networks] == ["baseline", "seln"]
    gate = list(plan.networks.values())[1].gate
    assert gate is not None and (gate.name, gate.replaces) == ("seln", "se")


def test_a_row_without_a_gate_may_have_another_network_as_its_base():
    plan = choose(None, {"preset": "selnext.2", "rows": ["swin-t"]})
    assert {v.name: (v.model, v.is_base) for v in plan.networks} == {
        "swin-t": ("swin_tiny_patch4_window7_224", False),
        "convnext-t": ("convnext_tiny", True),
    }


def test_the_recipe_is_the_rows_own_or_the_one_given():
    assert choose(None, {"preset": "ean.1"}).recipe.source.startswith("EAN")
    own = choose(None, {"preset": "selnext.2", "rows": ["selnext-s"]}).recipe
    assert (own.data.name, own.run.drop_path) == ("imagenet", 0.4)
    short = choose("cifar10/ean_short", {"preset": "ean.1", "seeds": 2, "data": "here.zip"})
    assert (short.recipe.schedule.epochs, short.recipe.data.path) == (8, "here.zip")
    assert len(short.cells) == 2 * len(load_table("ean.1").row)


def test_what_is_not_as_printed_is_said():
    """Two rows have no recipe; a gate in two places becomes two gates."""
    plan = choose(None, {"preset": "selnext.7"})
    assert "mobilevit-xs" not in [v.name for v in plan.networks]
    assert "without mobilevit-xs, edgenext-xs" in plan.recipe.note["study"]
    assert "Table 7" in plan.recipe.note["study"]
    tied = choose(None, {"preset": "ela.4", "rows": ["resnet18*"]})
    assert "two places share is two gates here" in tied.recipe.note["study"]
    every = choose("imagenet/mobilenetv3_seln", {"preset": "selnext.7"})
    assert "mobilevit-xs" in [v.name for v in every.networks]


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"preset": "ean22"}, "unknown table 'ean22'; did you mean 'ean.2'?"),
        (
            {"preset": "ean.2", "rows": ["resnet65"]},
            "unknown row 'resnet65'; did you mean 'resnet56'?",
        ),
        ({"preset": "ean.2", "rows": ["vgg*"]}, "no row matches 'vgg*'"),
        ({"preset": "ela.1"}, "no chosen row of ela.1 is a classification network"),
        ({"preset": "ela.5"}, "the rows are trained by different recipes (imagenet/ela_"),
        (
            {"preset": "selnext.2"},
            "imagenet/selnext, run.drop_path=0.4: selnext-s; imagenet/selnext, run.drop_path=0.5",
        ),
        ({"preset": "ean.2", "models": ["resnet20"]}, "--preset ean.2 brings its own models"),
    ],
)
def test_mistakes_get_one_sentence(choices, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        choose(None, choices)


def test_rows_of_no_table():
    with pytest.raises(InputError, match="name the table with --preset"):
        chosen_preset(None, ["resnet50"], any_recipe=False)


@pytest.mark.parametrize("name", list_tables())
def test_bases_are_trained_wherever_their_rows_are(name):
    """A preset adds the base of each row; that base has no base, and can be trained."""
    table = load_table(name)
    for row in table.row:
        if row.base:
            base = table.find(row.base)
            assert not base.base
            if row.build is not None and row.build.model:
                assert base.build is not None and base.build.model


def test_presets_are_the_tables_of_classification():
    assert list_presets() == [
        *("ean.1", "ean.2", "ean.3", "ela.2", "ela.4", "ela.5"),
        *("selnext.2", "selnext.3", "selnext.6", "selnext.7", "selnext.9"),
    ]
    open_preset("ean.1", None, any_recipe=False)


def test_a_preset_is_trained_stored_and_continued(recipe, fake, tmp_path, trained):
    preset = open_preset("ela.4", ["resnet50*"], any_recipe=True)
    choices = {"preset": preset, "progress": False}
    first = run_study(recipe, tmp_path, steps=fake, seeds=1, **choices)
    assert [row.label for row in first.rows] == [
        *("resnet50", "k5-g8-ng32", "k5-g8-ng16", "k7-g8-ng32", "k7-g-ng16", "k7-g8-ng16"),
    ]
    result = run_study(recipe, tmp_path, steps=fake, seeds=2, **choices)
    assert len(trained(tmp_path)) == 12
    base = result.rows[0]
    for row in result.rows[1:]:
        differences = [row.top1[seed] - base.top1[seed] for seed in (0, 1)]
        assert row.difference.mean == pytest.approx(sum(differences) / 2)
    stored = {r.cell.variant.name: r.spec for r in result.records}
    assert stored["resnet50+k7-g-ng16"].options == {
        "kernel_size": 7,
        "group_width": 1,
        "num_groups": 16,
    }
    assert "of ELA" in (tmp_path / "report.md").read_text()
    assert "k7-g-ng16: kernel_size=7" in (tmp_path / "report.md").read_text()


def test_what_a_preset_cannot_build_fails_before_training(recipe, fake, tmp_path):
    steps = replace(fake, check=type(fake)().check)
    wide = replace(recipe, run=replace(recipe.run, drop_path=0.1))  # which torchvision has not
    with pytest.raises(InputError, match="resnet50"):
        preset = open_preset("ela.4", ["resnet50"], any_recipe=True)
        run_study(wide, tmp_path / "s", steps=steps, preset=preset)
    assert not (tmp_path / "s").exists()
