"""A gate for each stage on the command line: --gate 2=eca,3=seln."""

import json

import pytest
import torch
from typer.testing import CliRunner

from convgate.cli import app
from convgate.cli.options import stage_gates
from convgate.errors import InputError
from convgate.insertion import insert
from convgate.models import create_model
from convgate.networks import open_network
from convgate.networks.specs import GateSpec
from convgate.train.recipe import chosen, load_recipe


def convgate(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_how_it_is_written():
    assert stage_gates(" 2 = eca , 3=my:Gate") == {2: "eca", 3: "my:Gate"}
    assert stage_gates("se,eca") is None and stage_gates("") is None
    for text in ("2=eca,se", "x=eca", "2=", "2=eca,2=se"):
        with pytest.raises(InputError, match="is no stage with its own gate; write one for each"):
            stage_gates(text)
    with pytest.raises(InputError, match="--stages 2: --gate 2=eca names the stages already"):
        stage_gates("2=eca", "2")


def test_insert(tmp_path):
    out = tmp_path / "mixed.safetensors"
    ran = convgate(
        *("insert", "resnet8", "--gate", "2=eca,3=seln", "--set", "reduction=4"),
        *("--out", out, "--json"),
    )
    assert ran.exit_code == 0, ran.output
    rows = json.loads(ran.stdout)["rows"]
    assert [(row["stage"], row["gate"]) for row in rows] == [(2, "eca"), (3, "seln")]
    twin = create_model("resnet8")
    insert(twin, {2: "eca", 3: "seln"}, reduction=4)
    network = open_network(out)
    assert network.model.state_dict().keys() == twin.state_dict().keys()
    assert network.card.name == "resnet8 + eca + seln"
    x = torch.randn(1, 3, 32, 32)
    assert torch.isfinite(network.model(x)).all()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--gate", "2=eca", "--stages", "2"), "names the stages already"),
        (("--gate", "2=eca", "--replace", "se"), "--replace puts one gate in all places"),
        (("--gate", "2=eka"), "unknown gate 'eka'; did you mean"),
        (("--gate", "7=eca"), "stages: 7 is asked for"),
    ],
)
def test_insert_refuses(words, sentence):
    ran = convgate("insert", "resnet8", *words)
    assert ran.exit_code == 2
    assert sentence in " ".join(ran.stderr.split())


def test_measure():
    ran = convgate(*("measure", "resnet8", "--gate", "1=se,3=eca", "--seconds", "0.05", "--json"))
    assert ran.exit_code == 0, ran.output
    models = json.loads(ran.stdout)["models"]
    plain, gated = models.values()
    assert list(models) == ["resnet8", "resnet8 + 1=se,3=eca"]
    twin = create_model("resnet8")
    before = sum(p.numel() for p in twin.parameters())
    insert(twin, {1: "se", 3: "eca"}, start="paper")
    assert (
        gated["cost"]["params"] - plain["cost"]["params"]
        == sum(p.numel() for p in twin.parameters()) - before
    )


def test_train_takes_it_in_place_of_the_recipe_s_gate():
    recipe = load_recipe("digits/demo")
    mixed = chosen(recipe, gate={2: "eca", 3: "seln"}).gate
    assert (mixed.name, mixed.stages, mixed.options) == ("", {"2": "eca", "3": "seln"}, {})
    assert chosen(recipe, gate={2: "eca"}, start="identity").gate == GateSpec(
        stages={"2": "eca"}, start="identity"
    )
    back = chosen(chosen(recipe, gate={2: "eca"}), gate="se").gate
    assert (back.name, back.stages) == ("se", None)
    ran = convgate("train", "digits/demo", "--gate", "2=eca", "--stages", "2", "--out", "nowhere")
    assert ran.exit_code == 2 and "names the stages already" in " ".join(ran.stderr.split())


@pytest.mark.parametrize("verb", ["study", "search"])
def test_gates_to_compare_have_no_stages(verb, tmp_path):
    ran = convgate(verb, "digits/demo", "--gate", "2=se,3=eca", "--out", tmp_path / "out")
    said = " ".join(ran.stderr.split())
    assert ran.exit_code == 2
    assert "--gate 2=se,3=eca: gates by stage are for insert, measure and train" in said
    assert "name them alone, --gate se,eca, and their stages in --stages" in said
    assert "unknown gate" not in said and not (tmp_path / "out").exists()
