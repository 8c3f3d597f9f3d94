"""`convgate table`: eighty columns, four formats, and clear refusals."""

import csv
import io
import json

import pytest
from typer.testing import CliRunner

import convgate.cli.papers  # noqa: F401  enters the verb
from convgate.cli.main import app


def run(*words):
    return CliRunner().invoke(app, ["table", *words])


def grid(output):
    """The lines of the table itself, above the remarks."""
    lines = output.splitlines()
    return lines[1 : next(i for i, line in enumerate(lines) if line.startswith("source:"))]


def test_reported_beside_ours_in_eighty_columns():
    done = run("selnext.7", "--rows", "*")
    assert done.exit_code == 0, done.output
    assert max(map(len, grid(done.output))) <= 80
    line = next(line for line in grid(done.output) if "5.4911" in line)
    for cell in ("5.49", "0.22", "0.2166", "76.02", "yes"):
        assert cell in line.split()
    assert "eca, FLOPs: 0.2151 G multiply-adds round to 0.22" in done.output
    assert "macs: multiply-adds of convolutions and matrix products" in done.output
    assert "convgate train imagenet/mobilenetv3_seln --set" in done.output


@pytest.mark.parametrize("name", ["selnext.5", "ela.6", "ela.1", "selnext.3"])
def test_tables_without_counts_fit_too(name):
    done = run(name)
    assert done.exit_code == 0, done.output
    assert max(map(len, grid(done.output))) <= 80


def test_a_column_of_two_units_names_them_in_its_cells():
    done = run("ela.5", "--rows", "*t*v2")
    assert "327.56  327.5507" in done.output  # one unit, in the head
    done = run("ela.5", "--rows", "[mr]*[28]")
    assert "327.56 M  327.5507" in done.output
    assert " 1.824 G" in done.output
    assert max(map(len, grid(done.output))) <= 80


def test_formats_hold_the_same_row(tmp_path):
    words = ["ela.2", "--rows", "resnet18+ca-r32"]
    table = json.loads(run(*words, "--format", "json").output)
    cell = table["rows"][0]["cells"][0]
    assert (cell["reported"], cell["ours"], cell["matches"]) == ("11.788", "11.7876", True)
    assert table["rows"][0]["counter"] == "thop4_means"
    row = next(csv.DictReader(io.StringIO(run(*words, "--format", "csv").output)))
    assert (row["params"], row["params_ours"], row["params_same"]) == ("11.788", "11.7876", "yes")
    out = tmp_path / "table.md"
    done = run(*words, "--format", "markdown", "--out", str(out))
    assert (done.exit_code, done.output) == (0, "")
    assert "| ResNet18 + CA, r 32 | 11.788 | 11.7876 | 1.825 | 1.8254 | 69.77 | yes |" in (
        out.read_text()
    )


def test_the_list_has_every_table():
    done = run("ls")
    assert done.exit_code == 0
    assert max(map(len, done.output.splitlines())) <= 80
    names = [row["table"] for row in json.loads(run("ls", "--format", "json").output)]
    assert {"selnext.2", "selnext.9", "ean.3", "ela.1", "ela.8"} <= set(names)
    assert all(name in done.output for name in names)


def test_latency_is_paired_with_the_base():
    words = ["ean.2", "--rows", "resnet56+se", "--latency", "--seconds", "0.3"]
    done = run(*words, "--format", "json")
    assert done.exit_code == 0, done.output
    table = json.loads(done.output)
    assert table["rows"][0]["latency"]["name"] == "resnet56+se"
    assert table["latency"][0]["base"] == "resnet56"


def test_the_papers_ratio_is_over_the_bases_row():
    """0.239 s over 0.157 s; 114 over 78 frames a second."""
    rows = json.loads(run("selnext.2", "--rows", "hornet-t-gf", "--format", "json").output)["rows"]
    assert rows[0]["reported_ratio"] == pytest.approx(0.239 / 0.157)
    rows = json.loads(run("ean.3", "--rows", "resnet50+se", "--format", "json").output)["rows"]
    assert rows[0]["reported_ratio"] == pytest.approx(114 / 78)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["selnext.22"], "unknown table 'selnext.22'; did you mean 'selnext.2'?"),
        (["ean.2", "--rows", "resnet56+sa2"], "unknown row 'resnet56+sa2'; did you mean"),
        (["ean.2", "--rows", "vgg*"], "no row matches 'vgg*'; the rows are resnet50, "),
        (["ela.1", "--format", "cvs"], "unknown format 'cvs'; did you mean 'csv'?"),
        (["ela.1", "--device", "tpu"], "device 'tpu' is not on this machine"),
        (["ela.6", "--latency"], "no chosen row of ela.6 names a network to time"),
        (["ean.2", "--rows", "resnet56", "--latency", "--batch", "0"], "batch=0 leaves no image"),
        (["ela.1", "--out", "nowhere/x.md"], "needs the folder nowhere"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(words, sentence):
    done = run(*words)
    assert done.exit_code == 2
    assert sentence in done.output
    assert "Traceback" not in done.output
