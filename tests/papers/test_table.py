"""Printed tables: their form, how digits are compared, and what a wrong name says."""

import shlex

import pytest

from convgate import spec
from convgate.errors import InputError
from convgate.insertion import insert, inserted
from convgate.models import create_model
from convgate.papers.build import build_row, example_input, tie_stem
from convgate.papers.count import properties_of
from convgate.papers.recipes import train_command
from convgate.papers.table import PaperTable, agrees, list_tables, load_table, shown
from convgate.train.recipe import chosen, load_recipe, override

ROW = {"name": "a", "label": "A", "reported": {"params": "1.20"}}
TABLE = {"caption": "", "source": "", "units": {"params": "M"}, "row": [ROW]}


def test_digits_are_compared_as_printed():
    assert agrees(1_204_999, "1.20", "M")
    assert not agrees(1_205_000, "1.20", "M")  # rounds to 1.21
    assert agrees(1_209_999, "1.20", "M", truncated=True)
    assert not agrees(1_199_999, "1.20", "M", truncated=True)
    assert agrees(15_440_000_000, "15.4", "G")
    assert not agrees(28_490_000, "29", "M")


def test_ours_has_two_digits_more_and_four_at_most():
    assert shown(28_589_128, "29", "M") == "28.59"
    assert shown(28_589_128, "28.6", "M") == "28.589"
    assert shown(11_689_512, "11.690", "M") == "11.6895"
    assert shown(343_660_372, "343.66", "M") == "343.6604"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"row": [ROW, ROW]}, "row 'a' is there twice"),
        ({"row": [ROW | {"base": "b"}]}, "unknown base of row 'a': 'b'"),
        ({"row": [ROW | {"reported": {"parms": "1"}}]}, "did you mean 'params'"),
        ({"row": [ROW | {"differs": {"flops": "why"}}]}, "unknown column of row 'a': 'flops'"),
        ({"row": [ROW | {"counter": "thop3"}]}, "unknown counter of row 'a': 'thop3'"),
        ({"scores": {"ap": "box_ap"}}, "unknown score of row 'a': 'ap'"),
        ({"row": [ROW | {"labl": "A"}]}, "did you mean 'row[0].label'"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(change, sentence):
    with pytest.raises(InputError) as error:
        spec.parse(PaperTable, TABLE | change, name="t.toml")
    assert sentence in str(error.value)


def test_rows_by_name_and_by_pattern():
    table = load_table("ean.2")
    assert [row.name for row in table.select("wrn28-10")] == ["wrn28-10"]
    assert len(table.select("resnet56*")) == 6
    labelled = table.find("wrn28-10")
    assert labelled.label != labelled.name
    assert labelled in table.select(labelled.label)
    with pytest.raises(
        InputError, match=r"unknown row 'resnet56\+sse'; did you mean 'resnet56\+se'"
    ):
        table.select("resnet56+sse")
    with pytest.raises(InputError, match=r"no row matches 'vgg\*'; the rows are resnet50, "):
        table.select("vgg*")
    with pytest.raises(InputError, match=r"unknown table 'selnext\.12'; did you mean 'selnext\.2'"):
        load_table("selnext.12")


def test_a_row_of_numbers_alone_cannot_be_built():
    table = spec.parse(PaperTable, TABLE, name="t.toml")
    with pytest.raises(InputError, match="row 'a' names no network"):
        build_row(table, table.find("a"), "meta")


def test_an_image_has_one_side_or_two_and_a_row_may_have_its_own():
    build = {"model": "resnet18", "image_px": [800, 1280]}
    rows = [ROW, ROW | {"name": "b", "build": build}, ROW | {"name": "c", "build": {}}]
    table = spec.parse(PaperTable, TABLE | {"row": rows, "image_px": 64}, name="t.toml")
    assert [table.image_px_of(row) for row in table.row] == [(64, 64), (800, 1280), (64, 64)]
    x = example_input(table, table.find("b"), batch=2, device="meta")
    assert x.shape == (2, 3, 800, 1280)
    with pytest.raises(InputError, match=r"'image_px' must be a list of 2, not \[1, 2, 3\]"):
        spec.parse(PaperTable, TABLE | {"image_px": [1, 2, 3]}, name="t.toml")
    with pytest.raises(InputError, match="'image_px' must be a whole number, not '64'"):
        spec.parse(PaperTable, TABLE | {"image_px": "64"}, name="t.toml")


def test_a_row_with_a_detector_has_its_task():
    tasks = {"ela.6": {"detect"}, "ela.8": {"segment"}, "ean.3": {"classify"}}
    for name, expected in tasks.items():
        assert {row.build.task for row in load_table(name).row} == expected


def test_counts_that_the_paper_lacks_are_known_as_such():
    assert load_table("selnext.8").unprinted() == ("params", "flops")
    assert load_table("ela.6").unprinted() == ("flops",)
    assert load_table("selnext.5").unprinted() == ()


def test_a_tied_stem_is_one_module_in_two_places():
    net = create_model("torchvision/resnet18", num_classes=2)
    insert(net, "se", at="stem_end,stage_end", start="paper")
    places = len(list(inserted(net)))
    tie_stem(net)
    assert net.relu.gate is net.layer1[1].gate
    assert len(list(inserted(net))) == places - 1
    plain = create_model("torchvision/resnet18", num_classes=2)
    insert(plain, "se", at="stem_end", start="paper")
    with pytest.raises(InputError, match="tied_stem needs gates"):
        tie_stem(plain)


def test_one_base_takes_one_size_of_image():
    for name in list_tables():
        table = load_table(name)
        for row in table.row:
            sizes = {r.build.image_px for r in (row, table.find(row.base or row.name)) if r.build}
            assert len(sizes) <= 1, (name, row.name)


def test_the_command_makes_the_rows_own_recipe():
    """Read back word by word, it is the row's network and gate; nothing stays of the recipe's."""
    commands = 0
    for name in list_tables():
        table = load_table(name)
        for row in table.row:
            words = shlex.split(train_command(name, table, row))
            if not words:
                continue
            commands += 1
            options = list(zip(words[3::2], words[4::2], strict=True))
            settings = [value for option, value in options if option == "--set"]
            recipe = chosen(
                override(load_recipe(words[2]), *settings), gate=dict(options).get("--gate", "")
            )
            assert recipe.model.name == row.build.model
            assert recipe.model.options == row.build.options
            assert recipe.gate == row.build.gate
            assert dict(options)["--out"] == f"runs/{name}/{row.name}"
    assert commands > 150


def test_properties_as_the_gates_equations_have_them():
    assert properties_of("se") == {
        "no_channel_reduction": False,
        "long_range": False,
        "lightweight": False,
    }
    assert properties_of("ela") == dict.fromkeys(properties_of("se"), True)
    assert properties_of("ca")["long_range"]  # one gate a row, one a column
    assert not properties_of("sge")["long_range"]  # the mean of the whole map
