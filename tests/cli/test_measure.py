"""`convgate measure` on the smallest net: a table of eighty columns, JSON, and clear refusals."""

import json

import pytest
from typer.testing import CliRunner

import convgate.cli.measure  # noqa: F401  enters the verb
from convgate.cli.main import app

FAST = ["--image-px", "32", "--seconds", "0.3", "--threads", "1"]


def run(*words):
    return CliRunner().invoke(app, ["measure", *words])


def test_table_fits_eighty_columns_and_says_all():
    done = run("resnet8", "--gate", "se", *FAST)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    table = lines[: next(i for i, line in enumerate(lines) if line.startswith("latency of"))]
    assert max(map(len, table)) <= 80
    text = " ".join(done.output.split())
    for word in ("params M", "MACs G", "bytes MB", "peak MiB", "median ms", "verdict", "base"):
        assert word in text
    assert "resnet8 + se" in text
    for key in ("device: cpu", "threads: 1", "torch: ", "git_commit: ", "command: "):
        assert key in text


def test_json_holds_the_counts_and_the_comparison():
    done = run("resnet8", "--gate", "se", "--distance", "--json", *FAST)
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    plain, gated = found["models"]["resnet8"], found["models"]["resnet8 + se"]
    assert gated["cost"]["params"] > plain["cost"]["params"]
    assert plain["memory"]["peak_bytes"] > plain["memory"]["weight_bytes"]
    assert all(0 < d["distance"] <= 0.5 for d in plain["distances"].values())
    assert [row["name"] for row in found["latency"]["rows"]] == ["resnet8", "resnet8 + se"]
    assert found["latency"]["rows"][0]["verdict"] == "base"


def test_folded_networks_follow_their_own():
    done = run("resnet8", "--gate", "se", "--fold", "--json", *FAST)
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    names = ["resnet8", "resnet8 folded", "resnet8 + se", "resnet8 + se folded"]
    assert [row["name"] for row in found["latency"]["rows"]] == names
    cost = {name: found["models"][name]["cost"] for name in names}
    # Seven convolutions have a norm each: of its scale and its shift a bias is left.
    widths = [16] * 3 + [32] * 2 + [64] * 2
    for plain, copy in (names[:2], names[2:]):
        assert cost[plain]["params"] - cost[copy]["params"] == sum(widths)
        assert cost[copy]["elementwise_ops"] < cost[plain]["elementwise_ops"]


def test_a_published_protocol_has_its_own_columns():
    done = run("resnet8", "--protocol", "timm", "--image-px", "32", "--threads", "1")
    assert done.exit_code == 0, done.output
    assert "images/s" in done.output
    assert "verdict" not in done.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["resnet200x"], "unknown model 'resnet200x'; did you mean"),
        (["resnet8", "--gate", "selm"], "unknown gate 'selm'; did you mean 'seln'?"),
        (["resnet8", "--gate", "se", "--at", "blok_end"], "did you mean 'block_end'?"),
        (["resnet8", "--dtype", "float23"], "unknown dtype 'float23'"),
        (["resnet8", "--protocol", "timn"], "unknown protocol 'timn'; did you mean 'timm'?"),
        (["resnet8", "--device", "tpu"], "device 'tpu' is not on this machine"),
        (["resnet8", "resnet8"], "given twice"),
        (["resnet8", "--batch", "0"], "batch=0"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(words, sentence):
    done = run(*words, "--image-px", "32")
    assert done.exit_code == 2
    assert sentence in done.output
    assert "Traceback" not in done.output
