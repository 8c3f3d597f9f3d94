"""`convgate measure` on the smallest net: a table of eighty columns, JSON, and clear refusals."""

import json

import pytest
from typer.testing import CliRunner

from convgate.cli import app

pytestmark = pytest.mark.usefixtures("settled")

FAST = ["--image-px", "32", "--seconds", "0.3", "--threads", "1"]


def measure(*words):
    return CliRunner().invoke(app, ["measure", *map(str, words)])


def test_table_fits_eighty_columns_and_says_all():
    done = measure("resnet8", "--gate", "se", *FAST)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    table = lines[: next(i for i, line in enumerate(lines) if line.startswith("latency of"))]
    assert max(map(len, table)) <= 80
    text = " ".join(done.output.split())
    for word in ("params M", "MACs G", "bytes MB", "peak MiB", "median ms", "verdict", "base"):
        assert word in text
    assert "resnet8 + se" in text
    for key in ("cpu ", "device cpu", "threads 1", "engine torch ", "git commit "):
        assert key in lines[-1]
    assert lines[-1].endswith("; all conditions: --json")


def test_json_holds_the_counts_and_the_comparison():
    done = measure("resnet8", "--gate", "se", "--distance", "--json", *FAST)
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    plain, gated = found["models"]["resnet8"], found["models"]["resnet8 + se"]
    assert gated["cost"]["params"] > plain["cost"]["params"]
    assert plain["memory"]["peak_bytes"] > plain["memory"]["weight_bytes"]
    assert all(0 < d["distance"] <= 0.5 for d in plain["distances"].values())
    assert [row["name"] for row in found["latency"]["rows"]] == ["resnet8", "resnet8 + se"]
    assert found["latency"]["rows"][0]["verdict"] == "base"


def test_folded_networks_follow_their_own():
    done = measure("resnet8", "--gate", "se", "--fold", "--json", *FAST)
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
    done = measure("resnet8", "--protocol", "timm", "--image-px", "32", "--threads", "1")
    assert done.exit_code == 0, done.output
    assert "images/s" in done.output
    assert "verdict" not in done.output


def test_the_first_network_s_size_and_what_was_trained(run):
    folder, _ = run
    done = measure(folder, "--gate", "eca", "--at", "stem_end", "--json", *FAST[2:])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["latency"]["input_shape"] == [1, 1, 8, 8]
    assert [row["name"] for row in found["latency"]["rows"]] == [
        "resnet8 + se",
        "resnet8 + se + eca",
    ]
    done = measure("resnet8", folder)
    assert done.exit_code == 2
    assert f"{folder}: takes images with 1 channels and resnet8 with 3" in done.stderr


def test_a_gate_that_does_not_fit_is_named_and_the_others_are_measured():
    done = measure("resnet8", "--gate", "se,eca", "--set", "reduction=8", "--json", *FAST)
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert [row["name"] for row in found["latency"]["rows"]] == ["resnet8", "resnet8 + se"]
    assert list(found["left_out"]) == ["resnet8 + eca"]
    assert "reduction" in found["left_out"]["resnet8 + eca"]
    # SE with reduction 8: two 1x1 convolutions with biases at each block's 16, 32 and 64 channels.
    params = [found["models"][name]["cost"]["params"] for name in ("resnet8", "resnet8 + se")]
    assert params[1] - params[0] == sum(2 * c * (c // 8) + c + c // 8 for c in (16, 32, 64))
    told = measure("resnet8", "--gate", "se,eca", "--set", "reduction=8", *FAST)
    assert "left out: resnet8 + eca: " in told.output


def test_a_gated_file_and_the_same_gate_inserted_now_are_two_rows(tmp_path):
    file = tmp_path / "gated.safetensors"
    done = CliRunner().invoke(app, ["insert", "resnet8", "--gate", "se", "--out", str(file)])
    assert done.exit_code == 0, done.output
    done = measure("resnet8", file, "--gate", "se", "--json", *FAST)
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    names = ["resnet8", "resnet8 + se (inserted now)", "resnet8 + se"]
    assert [row["name"] for row in found["latency"]["rows"]] == names
    assert "carries the gate 'se' already" in found["left_out"]["resnet8 + se + se"]


def test_stages_and_start():
    words = ("--gate", "se", "--stages", "3", "--start", "identity")
    done = measure("resnet8", *words, "--json", *FAST)
    assert done.exit_code == 0, done.output
    cost = {name: m["cost"]["params"] for name, m in json.loads(done.output)["models"].items()}
    # One gate of 64 channels, which starts as the identity without another number.
    assert cost["resnet8 + se"] - cost["resnet8"] == 2 * 64 * 4 + 64 + 4


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
        (["resnet8", "--gate", "se,selm"], "unknown gate 'selm'; did you mean 'seln'?"),
        (["resnet8", "--gate", "se", "--set", "reduktion=8"], "reduktion"),
        (["resnet8", "--gate", "se", "--stages", "two"], "--stages 'two' is no list of numbers"),
        (["resnet8", "swin_tiny_patch4_window7_224"], "cannot take pictures of 32 px"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(words, sentence):
    done = measure(*words, "--image-px", "32")
    assert done.exit_code == 2
    assert sentence in done.output
    assert len(done.stderr.splitlines()) == 1
