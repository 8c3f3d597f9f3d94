"""`convgate table`: eighty columns, four formats, and clear refusals."""

import csv
import io
import json
import statistics
from dataclasses import replace

import pytest
from torch import nn
from typer.testing import CliRunner

import convgate.cli.table
import convgate.cli.train  # noqa: F401  both enter their verbs
from convgate.cli.main import app
from convgate.deploy.engines import EngineConfig
from convgate.folding import folded
from convgate.measure import compare_latency
from convgate.networks.specs import GateSpec
from convgate.papers import run_table
from convgate.papers.table import PaperBuild, load_table


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


@pytest.mark.parametrize("name", ["ela.1", "selnext.3", "ean.5", "ela.3", "ela.6", "ela.8"])
def test_other_tables_fit_too(name):
    done = run(name)
    assert done.exit_code == 0, done.output
    assert max(map(len, grid(done.output))) <= 80


def test_a_table_that_is_too_wide_is_parted():
    """Every number in one piece: counts above, and what is as reported below."""
    done = run("selnext.5", "--rows", "mask-rcnn*")
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in grid(done.output)]
    assert max(map(len, grid(done.output))) <= 80
    rows = [line[4:] for line in lines if "ConvNeXt-T" in line]
    assert rows == [
        ["48", "48.10", "262", "262.16", "yes"],
        ["12.5", "46.2", "67.9", "50.8", "41.7", "65.0", "45.0"],
    ]
    assert "with 1,000 proposals" in " ".join(done.output.split())
    assert "convgate train coco/mask_rcnn --set" in done.output
    page = run("selnext.5", "--rows", "mask-rcnn+convnext-t", "--format", "markdown").output
    assert "| 48 | 48.10 | 262 | 262.16 | 12.5 | 46.2 |" in page


def test_a_count_that_the_paper_lacks_stands_alone():
    done = run("selnext.8")
    line = next(line for line in grid(done.output) if "SELN" in line)
    assert line.split() == ["Mask", "R-CNN,", "SELN", "23.181", "173.322", "31.1", "29.9"]
    row = next(csv.DictReader(io.StringIO(run("selnext.8", "--format", "csv").output)))
    assert (row["params"], row["params_ours"], row["params_same"]) == ("", "23.172", "")


def test_a_detector_is_timed_with_its_base():
    words = ["ean.4", "--rows", "mobilenext+se", "--latency", "--seconds", "0.3"]
    done = run(*words, "--format", "json")
    assert done.exit_code == 0, done.output
    (report,) = json.loads(done.output)["latency"]
    assert (report["base"], report["input_shape"]) == ("mobilenext", [1, 3, 320, 320])


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


def test_folded_rows_are_timed_beside_the_folded_base(monkeypatch):
    """ResNet-56 has a norm after each convolution, and they all go into the convolutions."""
    timed = {}

    def compare(self, models, x, **_):
        timed.update(models)
        return compare_latency({name: nn.Identity() for name in models}, x, seconds=0.1)

    monkeypatch.setattr(EngineConfig, "compare", compare)
    done = run("ean.2", "--rows", "resnet56+se", "--latency", "--fold")
    assert done.exit_code == 0, done.output
    assert ", folded, torch" in " ".join(done.output.split())
    assert list(timed) == ["resnet56", "resnet56+se"]
    for network in timed.values():
        assert folded(network).folds
        assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())


def test_what_cannot_be_folded_is_timed_as_it_is_and_named():
    words = ["ean.4", "--rows", "mobilenext", "--latency", "--fold", "--seconds", "0.3"]
    done = run(*words, "--format", "json")
    assert done.exit_code == 0, done.output
    (report,) = json.loads(done.output)["latency"]
    assert any(
        "mobilenext is not folded: FixedWork cannot be folded" in warning
        for warning in report["warnings"]
    )


def test_the_papers_ratio_is_over_the_bases_row():
    """0.239 s over 0.157 s; 114 over 78 frames a second."""
    rows = json.loads(run("selnext.2", "--rows", "hornet-t-gf", "--format", "json").output)["rows"]
    assert rows[0]["reported_ratio"] == pytest.approx(0.239 / 0.157)
    rows = json.loads(run("ean.3", "--rows", "resnet50+se", "--format", "json").output)["rows"]
    assert rows[0]["reported_ratio"] == pytest.approx(114 / 78)


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Two epochs of ResNet-20 on scanned digits, as a table's row would name it."""
    monkeypatch.chdir(tmp_path)
    table = load_table("ean.2")
    row = replace(
        table.find("resnet56+se"),
        name="resnet20+se",
        label="ResNet20 + SE",
        base="",
        build=PaperBuild(model="resnet20", gate=GateSpec(name="se", options={"reduction": 8})),
    )
    short = replace(table, row=(row,))
    monkeypatch.setattr("convgate.papers.run.load_table", lambda name: short)
    monkeypatch.setattr("convgate.papers.trained.load_table", lambda name: short)
    words = ["train", "digits/demo", "--model", "resnet20", "--set"]
    words += ['gate={name="se", options={reduction=8}}', "--set", "schedule.epochs=2", "--out"]
    for seed in (0, 1):
        done = CliRunner().invoke(app, [*words, f"out/{seed}", "--set", f"run.seed={seed}"])
        assert done.exit_code == 0, done.output
    results = [json.loads((tmp_path / f"out/{s}/result.json").read_text()) for s in (0, 1)]
    return [result["scores"]["top1"] for result in results]


def test_what_was_trained_stands_below_with_what_it_was(trained):
    done = run("ean.2", "--results", "out")
    assert done.exit_code == 0, done.output
    assert max(map(len, grid(done.output))) <= 80
    mean, std = statistics.mean(trained), statistics.stdev(trained)
    line = next(line for line in grid(done.output) if "digits" in line)
    assert f" 72.24  {mean:.2f} ± {std:.2f}     2  digits, 8 px, 1,437 images," in line
    assert "convgate train" not in done.output  # no row is left
    row = next(
        csv.DictReader(io.StringIO(run("ean.2", "--results", "out", "--format", "csv").output))
    )
    assert float(row["top1_mean"]) == pytest.approx(mean)
    assert (row["top1_runs"], row["top1_on"][:6], row["top1"]) == ("2", "digits", "72.24")
    found = json.loads(run("ean.2", "--results", "out", "--format", "json").output)
    (cell,) = [c for c in found["rows"][0]["cells"] if c["column"] == "top1"]
    assert cell["trained"][0]["seeds"] == [0, 1]
    assert (
        "| ResNet20 + SE | 72.24 |"
        in run("ean.2", "--results", "out", "--format", "markdown").output
    )


def test_a_plot_is_written_beside_the_table(tmp_path):
    done = run("selnext.9", "--rows", "se*", "--plot", str(tmp_path / "a.svg"))
    assert done.exit_code == 0, done.output
    assert "Baseline + SE" in done.output
    assert (tmp_path / "a.svg").read_text().startswith("<svg")


def test_what_stands_there_is_replaced_by_force_alone(tmp_path):
    out, plot = tmp_path / "a.md", tmp_path / "a.svg"
    for path, words in ((out, ["ls", "--out"]), (plot, ["selnext.9", "--rows", "se", "--plot"])):
        path.write_text("mine")
        done = run(*words, str(path))
        assert done.exit_code == 2 and f"{path.name}: exists already" in " ".join(
            done.output.split()
        )
        assert path.read_text() == "mine"
        done = run(*words, str(path), "--force")
        assert done.exit_code == 0, done.output
        assert path.read_text() != "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.md", "a.svg"]  # no part of a file


def test_a_result_prints_as_a_table_and_shows_in_a_notebook():
    result = run_table("ela.2", "resnet18*")
    assert str(result) == repr(result) == run("ela.2", "--rows", "resnet18*").output.rstrip("\n")
    page = result._repr_html_()
    assert page.count("<tr>") == 1 + len(result.rows)
    assert "source: " in page and "11.7876" in page


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["selnext.22"], "unknown table 'selnext.22'; did you mean 'selnext.2'?"),
        (["ean.2", "--rows", "resnet56+sa2"], "unknown row 'resnet56+sa2'; did you mean"),
        (["ean.2", "--rows", "vgg*"], "no row matches 'vgg*'; the rows are resnet50, "),
        (["ela.1", "--format", "cvs"], "unknown format 'cvs'; did you mean 'csv'?"),
        (["ela.1", "--device", "tpu"], "device 'tpu' is not on this machine"),
        (["ela.1", "--latency"], "no chosen row of ela.1 names a network to time"),
        (["ean.2", "--rows", "resnet56", "--latency", "--batch", "0"], "batch=0 leaves no image"),
        (["ean.2", "--rows", "resnet56", "--fold"], "--fold is about what is timed; add --latency"),
        (["ela.1", "--out", "nowhere/x.md"], "there is no folder nowhere"),
        (["ean.2", "--rows", "resnet56", "--results", "nowhere"], "there is no such folder"),
        (["ela.1", "--images", "."], "no trained run of a row of ela.1 with a feature distance"),
        (["ean.4", "--rows", "mobilenxt"], "unknown row 'mobilenxt'; did you mean 'mobilenext'?"),
        (
            ["ean.4", "--rows", "mobilenext", "--latency", "--engine", "openvino"],
            "--engine openvino runs networks with one output; time detectors with eager or compile",
        ),
        (["ela.6", "--plot", "a.svg"], "ela.6 has no top-1 accuracy to plot"),
        (["ela.4", "--plot", "a.jpg"], "unknown kind of picture 'jpg'; did you mean"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(words, sentence):
    done = run(*words)
    assert done.exit_code == 2
    assert sentence in done.output
    assert "Traceback" not in done.output
