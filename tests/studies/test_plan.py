from dataclasses import replace
from types import SimpleNamespace

import pytest

from convgate.errors import InputError
from convgate.networks.build import build_network
from convgate.networks.card import Card, save_network
from convgate.networks.gates import gates_of
from convgate.networks.specs import GateSpec
from convgate.studies.grid import Variant
from convgate.studies.plan import check_variants, make_plan
from convgate.train.sections import StudySpec


def test_choices_replace_the_recipes_own(recipe):
    own = replace(recipe, study=StudySpec(gates=("se",), sites=("spatial",), seeds=4, budget=1.3))
    plan = make_plan(own, {"gates": ["eca", "ca"], "seeds": None})
    assert list(plan.networks) == [
        Variant("resnet8"),
        Variant("resnet8", "eca", "spatial"),
        Variant("resnet8", "ca", "spatial"),
    ]
    assert (plan.seeds, plan.budget) == (4, 1.3)


def test_a_recipe_without_a_study_lends_its_gates_place(recipe):
    with pytest.raises(InputError, match=r"no \[study\] section; name the gates"):
        make_plan(recipe, {})
    placed = replace(recipe, gate=GateSpec(name="se", at="spatial"))
    assert list(make_plan(placed, {"gates": ["eca"]}).networks)[1].site == "spatial"
    replaced = replace(recipe, gate=GateSpec(name="seln", replaces="se"))
    assert list(make_plan(replaced, {"gates": ["eca"]}).networks)[1].site == "se"


def test_options_of_an_unknown_gate_are_refused(recipe):
    study = StudySpec(gates=("ean",), options={"selm": {"reduction": 4}})
    with pytest.raises(
        InputError, match=r"study\.options: unknown gate 'selm'; did you mean 'seln'"
    ):
        make_plan(replace(recipe, study=study), {})


def test_seeds_count_up_from_the_recipes(recipe):
    late = replace(recipe, run=replace(recipe.run, seed=7))
    plan = make_plan(late, {"gates": ["se"], "seeds": 2})
    assert [cell.seed for cell in plan.cells] == [7, 7, 8, 8]


def test_single_keys_and_the_data_are_changed_once(recipe):
    changes = {"settings": ["schedule.epochs=9"], "data": "photos.zip", "skip_bad": True}
    found = make_plan("digits/demo", changes).recipe
    assert (found.schedule.epochs, found.data.path, found.data.skip_bad) == (9, "photos.zip", True)


def test_options_stages_and_start_are_those_of_every_gate(recipe):
    choices = {"gates": ["se", "seln"], "settings": ["reduction=8"], "stages": (2,)}
    plan = make_plan(recipe, choices | {"start": "identity"})
    base, *gated = plan.networks.values()
    assert base.gate is None and plan.recipe == make_plan(recipe, {"gates": ["se"]}).recipe
    for network, name in zip(gated, ("se", "seln"), strict=True):
        options = {"reduction": 8}
        assert network.gate == GateSpec(name=name, stages=(2,), start="identity", options=options)


def test_a_study_of_a_file_keeps_its_gates_in_the_base(recipe, tmp_path):
    card = Card(model="resnet8", options={"num_classes": 5})
    model = build_network(card, gates=[GateSpec(name="se")])
    file = tmp_path / "net.safetensors"
    save_network(file, model.state_dict(), replace(card, gates=gates_of(model)))
    plan = make_plan(recipe, {"gates": ["eca"], "sites": ["spatial"], "models": [str(file)]})
    base, gated = plan.networks.values()
    assert (base.gate, base.model.gates, base.model.weights) == (None, True, str(file))
    assert gated.model == base.model
    assert gated.gate == GateSpec(name="eca", at="spatial", start="identity")  # has weights
    check_variants(plan.recipe, plan.networks)
    by_name = make_plan(recipe, {"gates": ["eca"], "models": ["resnet8"], "weights": file})
    assert next(iter(by_name.networks.values())).model == base.model
    with pytest.raises(InputError, match="--weights is for one network, and there are 2"):
        make_plan(recipe, {"gates": ["eca"], "models": ["resnet8", "resnet20"], "weights": file})


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({}, "name a recipe, or a printed table with --preset"),
        (
            {"preset": SimpleNamespace(name="ean.2"), "gates": ["se"]},
            "--preset ean.2 brings its own gates",
        ),
    ],
)
def test_what_a_study_cannot_start_from(choices, sentence):
    with pytest.raises(InputError, match=sentence):
        make_plan(None, choices)


def test_a_recipe_with_a_gate_for_each_stage_is_compared_with_the_plain_network(recipe):
    table = {"1": "eca", "3": "se"}
    recipe = replace(recipe, gate=GateSpec(stages=table, options={"reduction": 4}))
    plan = make_plan(recipe, {"seeds": 1})
    assert [variant.label for variant in plan.networks] == ["none", "1=eca+3=se"]
    base, own = plan.networks.values()
    assert base.gate is None and own.gate.stages == table and own.gate.start == "paper"
    check_variants(plan.recipe, plan.networks)


def test_named_gates_join_the_gates_of_each_stage(recipe):
    recipe = replace(recipe, gate=GateSpec(stages={"1": "eca", "3": "se"}))
    plan = make_plan(recipe, {"gates": ["se"], "settings": ["reduction=4"]})
    built = {v.label: network.gate for v, network in plan.networks.items()}
    assert list(built) == ["none", "se @ block_end", "1=eca+3=se"]
    assert built["se @ block_end"].stages is None
    assert built["1=eca+3=se"].options == {"reduction": 4}
