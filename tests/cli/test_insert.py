"""`convgate insert`: a gated network on disk, and one sentence for what cannot be done."""

import json

import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

import convgate.cli.insert  # noqa: F401  enters the verb
from convgate.cli.main import app
from convgate.insertion import insert
from convgate.models import create_model
from convgate.networks import GateSpec, open_network


@pytest.fixture
def run():
    return lambda *words: CliRunner().invoke(app, ["insert", *map(str, words)])


def test_weights_go_in_and_come_out(run, tmp_path):
    plain = create_model("resnet8")
    torch.save({"model": plain.state_dict()}, tmp_path / "plain.pth")
    out = tmp_path / "gated.safetensors"
    result = run(
        *("resnet8", "--gate", "se", "--stages", "2,3", "--set", "reduction=8", "--json"),
        *("--weights", tmp_path / "plain.pth", "--out", out),
    )
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["unchanged"] is True
    assert [row["channels"] for row in said["rows"]] == [32, 64]
    assert [row["macs"] for row in said["rows"]] == [2 * 32 * 4, 2 * 64 * 8]
    gated = create_model("resnet8")
    insert(gated, "se", stages=[2, 3], reduction=8)
    gated.load_state_dict(safetensors.torch.load_file(out), strict=True)
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(gated.eval()(x), plain.eval()(x))
    card = open_network(out).card
    assert (card.model, card.weights) == ("resnet8", "plain.pth")
    assert card.gates == (
        GateSpec(name="se", stages=(2, 3), start="identity", options={"reduction": 8}),
    )
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_table(run):
    result = run("resnet8", "--gate", "eca", "--at", "layer[12].*.bn2", "--start", "paper")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["site", "path", "stage"]
    assert [line.split()[1] for line in lines[2:4]] == ["layer1.0.bn2", "layer2.0.bn2"]
    assert lines[-1] == "output changed"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["resnet88", "--gate", "se"], "unknown model 'resnet88'"),
        (["resnet8", "--gate", "selm"], "unknown gate 'selm'; did you mean 'seln'?"),
        (
            ["resnet8", "--gate", "se", "--at", "expanded"],
            "has no site 'expanded'; it has stem_end",
        ),
        (["resnet8", "--gate", "se", "--stages", "two"], "--stages 'two' is no list of numbers"),
        (["resnet8", "--gate", "se", "--stages", "9"], "stages: 9 is asked for"),
        (["resnet8", "--gate", "se", "--set", "reduction"], "--set 'reduction' has no value"),
        (["resnet8", "--gate", "se", "--start", "papper"], "did you mean 'paper'?"),
        (
            ["resnet8", "--gate", "se", "--out", "nowhere/x.safetensors"],
            "there is no folder nowhere",
        ),
        (["resnet8", "--gate", "se", "--weights", "none.pth"], "there is no such file"),
    ],
)
def test_bad_words_are_one_sentence(run, words, sentence):
    result = run(*words)
    assert result.exit_code == 2
    assert sentence in str(result.exception or "") + result.output


@pytest.mark.parametrize("name", ["cut.pth", "cut.safetensors"])
def test_damaged_weights(run, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"PK\x03\x04 not weights")
    result = run("resnet8", "--gate", "se", "--weights", path)
    assert result.exit_code == 2
    assert "truncated, or not a file of weights" in str(result.exception or "") + result.output
