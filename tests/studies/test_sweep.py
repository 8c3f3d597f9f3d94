"""An option as an axis of a study."""

import re

import pytest

from convgate.errors import InputError
from convgate.papers.preset import open_preset
from convgate.studies import run_study
from convgate.studies.figures import sweeps_of
from convgate.studies.plan import check_variants, make_plan

GROUPS = "gate.options.groups=16,2,4"


def test_each_gated_variant_becomes_one_for_each_value(recipe):
    plan = make_plan(recipe, {"gates": ["ean"], "sweep": GROUPS})
    assert {v.label: n.options for v, n in plan.networks.items()} == {
        "none": {},
        "ean @ block_end groups=16": {"groups": 16},
        "ean @ block_end groups=2": {"groups": 2},
        "ean @ block_end groups=4": {"groups": 4},
    }


def test_the_other_options_stay_as_they_are():
    sweep = "gate.options.reduction=4,8"
    preset = open_preset("ean.2", ["resnet50+cbam"], any_recipe=False)
    plan = make_plan(None, {"preset": preset, "sweep": sweep})
    swept = [(v.label, n.options) for v, n in plan.networks.items() if not v.is_base]
    assert swept == [
        ("resnet50+cbam reduction=4", {"bias": False, "norm": False, "reduction": 4}),
        ("resnet50+cbam reduction=8", {"bias": False, "norm": False, "reduction": 8}),
    ]


def test_values_are_what_toml_says_or_words(recipe):
    truth = make_plan(recipe, {"gates": ["cbam"], "sweep": "gate.options.bias=true,false"})
    assert [n.options.get("bias") for n in truth.networks.values()] == [None, True, False]
    words = make_plan(recipe, {"gates": ["se"], "sweep": "gate.options.activation=sigmoid, tanh"})
    assert [n.options.get("activation") for n in words.networks.values()] == [
        *(None, "sigmoid", "tanh"),
    ]


@pytest.mark.parametrize(
    ("sweep", "sentence"),
    [
        ("groups=1,2", "--sweep 'groups=1,2': write an option as in gate.options.groups=1,2,4"),
        ("gate.options.groups", "write an option as in"),
        ("gate.options.groups=", "there is no value behind the sign"),
    ],
)
def test_an_axis_that_reads_otherwise(recipe, sweep, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        make_plan(recipe, {"gates": ["ean"], "sweep": sweep})


def test_an_axis_without_a_gate(recipe):
    with pytest.raises(InputError, match="no network of the study has a gate"):
        make_plan(recipe, {"gates": ["none"], "sweep": GROUPS})


@pytest.mark.parametrize(
    ("sweep", "sentence"),
    [
        ("gate.options.grous=1", "ean at block_end grous=1: ean: unknown option 'grous'; did you"),
        ("gate.options.groups=3", "ean at block_end groups=3: "),
    ],
)
def test_an_option_that_the_gate_lacks_or_refuses(recipe, sweep, sentence):
    plan = make_plan(recipe, {"gates": ["ean"], "sweep": sweep})
    with pytest.raises(InputError, match=re.escape(sentence)):
        check_variants(plan.recipe, plan.networks)


def test_a_sweep_leaves_its_pictures_and_more_values_extend_it(recipe, fake, tmp_path, trained):
    run_study(recipe, tmp_path, steps=fake, gates=["ean"], seeds=2, sweep=GROUPS, progress=False)
    more = "gate.options.groups=8"
    result = run_study(
        recipe, tmp_path, steps=fake, gates=["ean"], seeds=2, sweep=more, progress=False
    )
    assert len(trained(tmp_path)) == 2 * 5
    assert [row.label for row in result.rows] == [
        *("none", "groups=16", "groups=2", "groups=4", "groups=8"),
    ]
    (line,) = sweeps_of(result)["groups"]
    assert [point["x"] for point in line["points"]] == ["2", "4", "8", "16"]
    found = {row.label: row.mean for row in result.rows}
    assert [p["y"] for p in line["points"]] == [found[f"groups={p['x']}"] for p in line["points"]]
    assert line["base"] == found["none"]
    for name in ("groups.svg", "groups.png", "curves.svg", "curves.png"):
        assert (tmp_path / name).stat().st_size > 1000
    assert "![Accuracy over groups](groups.svg)" in (tmp_path / "report.md").read_text()
    assert "Accuracy over groups" in (tmp_path / "report.html").read_text()
