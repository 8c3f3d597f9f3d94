"""What a search may choose: stages, gates that fit, combinations as recipes."""

from dataclasses import replace

import pytest

from convgate.errors import InputError
from convgate.networks.specs import ModelSpec
from convgate.searches.space import make_space
from convgate.train.build import build_model
from convgate.train.recipe import load_recipe


@pytest.fixture(scope="module")
def digits():
    return replace(load_recipe("digits/demo"), study=None)


@pytest.fixture(scope="module")
def space(digits):
    return make_space(digits, ["se", "eca"], at="block_end", options={"reduction": 4})


def test_a_space_has_none_and_each_gate_in_each_stage(space):
    assert space.choices == {s: ("none", "se", "eca") for s in (1, 2, 3)}
    assert space.size == 27 and space.gates == ("se", "eca")
    assert space.sites == {1: (1, 16), 2: (1, 32), 3: (1, 64)}
    assert len(space.singles()) == 6 and space.plain not in space.singles()
    assert space.single(2, "se") == ("none", "se", "none")


def test_stages_that_are_asked_for_are_the_space(digits):
    assert make_space(digits, ["se"], at="block_end", stages=(2, 3)).stages == (2, 3)


def test_a_label_names_stages_and_gates(space):
    assert space.label(space.plain) == "none"
    assert space.label(("none", "eca", "se")) == "2=eca+3=se"
    assert space.label(("se", "se", "se")) == "se"


def test_a_label_leads_back_to_its_combination(space):
    every = [
        (a, b, c) for a in space.choices[1] for b in space.choices[2] for c in space.choices[3]
    ]
    assert [space.combination(space.label(each)) for each in every] == every


def test_a_combination_is_a_table_of_stages_with_the_options_of_its_gates(space):
    spec = space.gate_spec(("se", "none", "eca"))
    assert spec.stages == {"1": "se", "3": "eca"} and spec.options == {"reduction": 4}
    assert space.gate_spec(("eca", "none", "none")).options == {}
    assert space.gate_spec(space.plain) is None


def test_the_network_of_a_combination_has_its_gates_and_no_others(space, digits):
    model = build_model(space.recipe(digits, ("none", "eca", "se")), num_classes=10, in_chans=1)
    gates = {name: m for name, m in model.named_modules() if name.endswith("gate")}
    assert [type(gate).__name__ for gate in gates.values()] == ["ECA", "SE"]
    assert [name.split(".")[0] for name in gates] == ["layer2", "layer3"]
    assert gates["layer3.0.bn2.gate"].squeeze.out_features == 64 // 4


def test_a_gate_that_fits_some_stages_is_a_choice_there_alone(digits):
    space = make_space(digits, ["ela_s"], at="block_end", options={"num_groups": 32})
    assert space.choices == {2: ("none", "ela_s"), 3: ("none", "ela_s")}
    assert space.uniform("ela_s") == ("ela_s", "ela_s")


def test_a_gate_that_fits_no_site_is_named(digits):
    with pytest.raises(InputError, match="the gate 'ela_s' fits no site of the search: "):
        make_space(digits, ["se", "ela_s"], at="block_end", options={"num_groups": 7})


@pytest.mark.parametrize(
    ("gates", "options", "sentence"),
    [
        (["none"], {}, "one point"),
        (["selm"], {}, "did you mean 'seln'"),
        (["se"], {"groups": 2}, "groups: none of the gates se has this option"),
    ],
)
def test_what_leaves_nothing_to_choose_is_refused(digits, gates, options, sentence):
    with pytest.raises(InputError, match=sentence):
        make_space(digits, gates, at="block_end", options=options)


def test_sites_are_looked_for_below_a_detector():
    recipe = load_recipe("pennfudan/ssdlite")
    recipe = replace(recipe, model=ModelSpec(name="resnet18"), gate=None)
    assert make_space(recipe, ["se"], at="block_end").stages == (1, 2, 3, 4)
