"""Recipes that start from weights: what is loaded, and that no default makes it worse."""

import logging
from dataclasses import replace

import pytest
import timm
import torch

from convgate.errors import InputError
from convgate.gates import list_gates
from convgate.insertion import inserted
from convgate.models import create_model
from convgate.networks import build, build_network, gates_of, save_network
from convgate.networks.card import Card
from convgate.networks.specs import GateSpec
from convgate.studies import run_study
from convgate.studies.plan import check_variants, make_plan
from convgate.studies.provenance import data_pairs
from convgate.train.build import build_model
from convgate.train.recipe import chosen, load_recipe, override
from fixtures.weights import needs_weights

LITE = "tf_efficientnet_lite0"
TAGGED = f"{LITE}.pypi_in1k"
# What divides the 16, 24, 40, 80, 112, 192 and 320 channels of Lite0's blocks.
OPTIONS = {
    **{name: {"num_groups": 8} for name in list_gates() if name.startswith("ela")},
    "fca": {"frequencies": 8},
    "sa": {"groups": 4},
    "sge": {"groups": 8},
}
# One small network of each family that keeps its pretrained form: residual, inverted residual,
# ConvNeXt's, dense, and one of torchvision's.
FAMILIES = {
    "resnet10t": {},
    "mobilenetv2_100": {},
    "convnext_atto": {},
    "densenet121": {"growth_rate": 16, "block_config": (2, 2, 2, 2)},
    "selnext_atto": {},
    "torchvision/resnet18": {},
}


def outputs(model):
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return model.eval()(x)


@pytest.fixture(scope="module")
def lite():
    needs_weights(LITE)
    recipe = chosen(load_recipe("digits/demo"), model=TAGGED, pretrained=True)
    return recipe, outputs(build_model(recipe, num_classes=1000))  # the weights' own head


QUICK = ("se", "eca", "ean", "cbam", "ca", "seln")
EVERY_GATE = [
    gate if gate in QUICK else pytest.param(gate, marks=pytest.mark.slow) for gate in list_gates()
]


@pytest.mark.parametrize("gate", EVERY_GATE)
def test_no_gate_makes_real_weights_worse_before_the_first_step(lite, gate):
    recipe, before = lite
    spec = GateSpec(name=gate, options=OPTIONS.get(gate, {}))
    model = build_model(replace(recipe, gate=spec), num_classes=1000)
    assert len(list(inserted(model))) == 16  # a gate for each block
    assert torch.equal(outputs(model), before)


# Numbers that divide the channels of each family, as far as they can.
FITTING = {name: {key: f"<={n}" for key, n in each.items()} for name, each in OPTIONS.items()}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("gate", EVERY_GATE)
def test_no_gate_makes_a_learned_network_worse(tmp_path, name, gate):
    card = Card(model=name, options={"num_classes": 5, **FAMILIES[name]})
    learned = build_network(card, seed=3)
    for module in learned.modules():  # as after training: no norm at its initial values
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    file = tmp_path / "net.safetensors"
    save_network(file, learned.state_dict(), card)
    spec = GateSpec(name=gate, options=FITTING.get(gate, {}))
    recipe = replace(chosen(load_recipe("digits/demo"), model=str(file)), gate=spec)
    model = build_model(recipe, num_classes=5)  # the data's classes: the head stays, too
    assert list(inserted(model))
    assert torch.equal(outputs(model), outputs(learned))


def test_real_weights_are_loaded_under_the_head(lite):
    recipe, _ = lite
    mine = build_model(recipe, num_classes=10).state_dict()
    theirs = timm.create_model(TAGGED, pretrained=True).state_dict()
    other = {key for key, value in mine.items() if not torch.equal(value, theirs[key])}
    assert other == {"classifier.weight", "classifier.bias"}
    assert not mine["classifier.weight"].any() and not mine["classifier.bias"].any()
    whole = build_model(recipe, num_classes=1000).state_dict()
    assert all(torch.equal(whole[key], value) for key, value in theirs.items())


def test_a_recipe_says_pretrained(lite):
    settings = (f"model.name={TAGGED}", "model.pretrained=true")
    assert override(load_recipe("digits/demo"), *settings).model == lite[0].model


def test_torchvisions_networks_change_their_head(tmp_path):
    file = tmp_path / "bare.pth"
    learned = create_model("torchvision/resnet18", num_classes=7)
    torch.save(learned.state_dict(), file)
    recipe = chosen(load_recipe("digits/demo"), model="torchvision/resnet18", weights=file)
    model = build_model(recipe, num_classes=10)
    assert model.fc.out_features == 10 and not model.fc.weight.any()
    body = {k: v for k, v in learned.state_dict().items() if not k.startswith("fc.")}
    assert all(torch.equal(model.state_dict()[key], value) for key, value in body.items())


def test_the_papers_start_is_taken_where_asked_for_and_told_once(tmp_path, caplog):
    card = Card(model="resnet8", options={"num_classes": 5})
    file = tmp_path / "net.safetensors"
    save_network(file, build_network(card).state_dict(), card)
    build._told.clear()
    recipe = chosen(load_recipe("digits/demo"), model=str(file), gate="se", start="paper")
    with caplog.at_level(logging.WARNING, "convgate"):
        for _ in range(2):
            build_model(recipe, num_classes=5)
    assert [record.message for record in caplog.records] == [
        "se starts as its paper says in a network with learned weights, and changes what it "
        "computes before the first step; start = identity keeps that as it is"
    ]


@pytest.mark.parametrize(
    "choices",
    [
        {},  # the default of a learned network
        {"start": "paper"},
        {"start": "identity"},
    ],
)
def test_the_card_says_how_its_gates_started(tmp_path, choices, caplog):
    card = Card(model="resnet8", options={"num_classes": 5})
    file = tmp_path / "net.safetensors"
    save_network(file, build_network(card).state_dict(), card)
    recipe = chosen(load_recipe("digits/demo"), model=str(file), gate="se", **choices)
    expected = choices.get("start", "identity")
    assert gates_of(build_model(recipe, num_classes=2))[-1].start == expected
    assert recipe.fingerprint()["gate"]["start"] == expected
    plain = chosen(load_recipe("digits/demo"), gate="se")
    assert gates_of(build_model(plain, num_classes=2))[-1].start == "paper"


def test_starts_are_an_axis_of_a_study(tmp_path):
    card = Card(model="resnet8", options={"num_classes": 5})
    file = tmp_path / "net.safetensors"
    save_network(file, build_network(card).state_dict(), card)
    sweep = "gate.start=identity,paper"
    plan = make_plan("digits/demo", {"gates": ["se"], "models": [str(file)], "sweep": sweep})
    assert {v.label: n.gate and n.gate.start for v, n in plan.networks.items()} == {
        "none": None,
        "se @ block_end start=identity": "identity",
        "se @ block_end start=paper": "paper",
    }
    with pytest.raises(InputError, match="unknown start 'papr'; did you mean 'paper'"):
        make_plan("digits/demo", {"gates": ["se"], "sweep": "gate.start=papr"})


def test_several_pretrained_networks_make_one_study():
    needs_weights(LITE)
    names = [TAGGED, "tf_efficientnet_lite1.pypi_in1k"]
    choices = {"gates": ["se"], "models": names, "pretrained": True}
    plan = make_plan("digits/demo", choices)
    assert [n.model.name for v, n in plan.networks.items() if v.is_base] == names
    assert all(n.model.pretrained for n in plan.networks.values())
    assert all(n.gate.start == "identity" for n in plan.networks.values() if n.gate)
    check_variants(plan.recipe, plan.networks)
    choices["models"] = [TAGGED, "resnet8"]
    plan = make_plan("digits/demo", choices)
    with pytest.raises(InputError, match="resnet8: no pretrained weights exist"):
        check_variants(plan.recipe, plan.networks)


def test_a_report_says_what_its_networks_started_from(tmp_path, fake):
    card = Card(model="resnet8", options={"num_classes": 10, "in_chans": 1})
    file = tmp_path / "net.safetensors"
    save_network(file, build_network(card).state_dict(), card)

    def told(folder, **choices):
        given = {"gates": ["se"], "seeds": 1, "progress": False, "steps": fake} | choices
        return dict(data_pairs(run_study("digits/demo", tmp_path / folder, **given)))

    learned = told("a", models=[str(file)], sweep="gate.start=identity,paper")
    assert learned["networks start from"] == f"{tmp_path.name}/net.safetensors"
    assert learned["gates start as"] == "the identity or their papers say"
    scratch = told("b")
    assert scratch["networks start from"] == "random weights"
    assert scratch["gates start as"] == "their papers say"
