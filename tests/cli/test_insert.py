"""`convgate insert`: a gated network on disk, and one sentence for what cannot be done."""

import json

import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

import convgate.cli.insert  # noqa: F401  enters the verb
from convgate.cli.main import app
from convgate.insertion import insert, replace
from convgate.models import create_model
from convgate.networks import open_network


@pytest.fixture
def verb():
    return lambda *words: CliRunner().invoke(app, ["insert", *map(str, words)])


def test_weights_go_in_and_come_out(verb, tmp_path):
    plain = create_model("resnet8")
    torch.save({"model": plain.state_dict()}, tmp_path / "plain.pth")
    out = tmp_path / "gated.safetensors"
    result = verb(
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
    (gate,) = card.gates
    assert (gate.name, gate.at, gate.start, gate.options) == (
        "se", "block_end", "identity", {"reduction": 8},
    )  # fmt: skip
    assert [(place.stage, place.channels) for place in gate.places] == [(2, 32), (3, 64)]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_table(verb):
    result = verb("resnet8", "--gate", "eca", "--at", "layer[12].*.bn2", "--start", "paper")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["site", "path", "stage"]
    assert [line.split()[1] for line in lines[2:4]] == ["layer1.0.bn2", "layer2.0.bn2"]
    assert lines[-2] == "output changed"
    assert lines[-1].startswith("weights random")


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
        (["resnet8", "--gate", "se", "--set", "reduction"], "--set 'reduction': write key=value"),
        (["resnet8", "--gate", "se", "--start", "papper"], "did you mean 'paper'?"),
        (
            ["resnet8", "--gate", "se", "--out", "nowhere/x.safetensors"],
            "there is no folder nowhere",
        ),
        (["resnet8", "--gate", "se", "--weights", "none.pth"], "there is no such file"),
        (["resnet8", "--gate", "se", "--out", "x.pt"], "end in .safetensors"),
        (["resnet8", "--gate", "se,eca"], "--gate se,eca: a place holds one gate"),
        (["resnet8", "--gate", "se", "--set", "gate.kind=1"], "--set gate.kind"),
        (["resnet8", "--gate", "se", "--set", "at=spatial"], "give --at"),
        (["resnet8", "--gate", "eca", "--replace", "se"], "has no 'se' to replace"),
    ],
)
def test_bad_words_are_one_sentence(verb, words, sentence):
    result = verb(*words)
    assert result.exit_code == 2
    assert sentence in str(result.exception or "") + result.output


@pytest.mark.parametrize("name", ["cut.pth", "cut.safetensors"])
def test_damaged_weights(verb, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"PK\x03\x04 not weights")
    result = verb("resnet8", "--gate", "se", "--weights", path)
    assert result.exit_code == 2
    assert "truncated, or not a file of weights" in str(result.exception or "") + result.output


def test_a_file_that_is_there_stays_without_force(verb, tmp_path):
    out = tmp_path / "net.safetensors"
    out.write_text("a photo")
    result = verb("resnet8", "--gate", "se", "--out", out)
    assert (result.exit_code, out.read_text()) == (2, "a photo")
    assert "exists already" in result.stderr and "--force" in result.stderr
    assert verb("resnet8", "--gate", "se", "--out", out, "--force").exit_code == 0
    network = open_network(out)
    assert (network.label, network.card.is_random) == ("resnet8 + se", True)


def test_a_gate_into_a_trained_run_and_another_into_that_file(verb, run, tmp_path):
    folder, trained = run
    first, second = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    result = verb(folder, "--gate", "eca", "--at", "stem_end", "--out", first)
    assert result.exit_code == 0, result.output
    assert "output unchanged, bit for bit" in result.stdout and "random" not in result.stdout
    result = verb(first, "--gate", "srm", "--at", "stage_end", "--stages", "3", "--out", second)
    assert result.exit_code == 0, result.output
    network = open_network(second)
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(network.model(x), trained(x))
    card = network.card
    assert sorted(gate.name for gate in card.gates) == ["eca", "se", "srm"]
    assert (card.weights, card.recipe, card.classes[3]) == ("trained on digits", "", "3")
    assert card.images.input_size == (1, 8, 8)


def test_the_network_s_own_attention_gives_way(verb, tmp_path):
    out = tmp_path / "eca.safetensors"
    words = ("--gate", "eca", "--replace", "se", "--stages", "3", "--set", "kernel_size=5")
    result = verb("seresnet18", *words, "--image-px", "32", "--out", out, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    # SE of 256 channels has two 1x1 convolutions with biases, to 16 and back; ECA has 5 numbers.
    assert [row["params"] for row in said["rows"]] == [5 - (2 * 256 * 16 + 256 + 16)] * 2
    assert (said["action"], said["weights"], said["out"]) == ("replace", "random", str(out))
    network = open_network(out)
    expected = create_model("seresnet18")
    replace(expected, "se", "eca", stages=3, kernel_size=5)
    expected.load_state_dict(safetensors.torch.load_file(out), strict=True)
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(network.model(x), expected.eval()(x))
    assert [(g.at, g.holds, g.start) for g in network.card.gates] == [("se", "slot", "paper")]
