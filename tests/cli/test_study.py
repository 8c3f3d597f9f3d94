"""The verb `study`: what it prints, and the sentence and exit code of each mistake."""

import json
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from convgate.cli import app

TINY = (
    *("study", "digits/demo", "--set", "schedule.epochs=1", "--set", "schedule.warmup_epochs=0"),
    *("--gate", "se", "--seeds", "1", "--seconds", "0.3"),
)


def run(*words):
    return CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "80"})


def test_study_prints_the_table_the_answer_and_its_files(tmp_path):
    out = tmp_path / "s"
    said = run(*TINY, "--out", out)
    assert said.exit_code == 0, said.output
    lines = said.stdout.splitlines()
    assert max(map(len, lines[:-4])) <= 80
    assert [word for word in ("gate", "top-1, %", "latency ratio") if word not in said.stdout] == []
    assert lines[-3:] == [str(out / name) for name in ("report.html", "report.md", "results.csv")]
    assert all((out / name).is_file() for name in ("report.html", "report.md", "results.csv"))
    assert said.stderr.startswith("[1/2] none seed 0: ")
    again = run(*TINY, "--out", out, "--json")
    told = json.loads(again.stdout)
    assert told["answer"] == lines[-4]
    assert [row["label"] for row in told["rows"]] == ["none", "se"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--gate", "se,selm"), "unknown gate 'selm'; did you mean 'seln'?"),
        (("--at", "blok_end"), "se at blok_end: unknown site 'blok_end'; did you mean"),
        (("--model", "resnet9"), "unknown model 'resnet9'"),
        (("--budget", "1"), "budget=1.0: a multiple of the base's latency, which must be above 1"),
        (("--seeds", "0"), "seeds=0 must be 1 or more"),
        (("--gate", ","), "gates is empty"),
        (("--set", "optimizer.rl=1"), "unknown key 'optimizer.rl'"),
        (("--set", "reduktion=8"), "unknown option 'reduktion'; did you mean 'reduction'"),
        (("--start", "idenity"), "unknown start 'idenity'"),
        (("--stages", "2,x"), "is no list of numbers"),
        (("--stages", "9"), "se at block_end: "),
        (("--model", "resnet8,resnet20", "--weights", "a.pth"), "--weights is for one network"),
        (("--data", "/nowhere/at/all", "--set", "data.name=folder"), "/nowhere/at/all"),
    ],
)
def test_mistakes_get_one_sentence_and_code_2(tmp_path, words, sentence):
    said = run(*TINY, *words, "--out", tmp_path / "s")
    assert said.exit_code == 2
    assert said.stderr.startswith("convgate: ") and sentence in said.stderr
    assert said.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "name a recipe, or a printed table with --preset"),
        (("--preset", "ean.9"), "unknown table 'ean.9'; did you mean 'ean."),
        (("--preset", "ean.2", "--rows", "resnet65"), "did you mean 'resnet56'?"),
        (("--preset", "ean.4"), "no chosen row of ean.4 is a classification network"),
        (("--preset", "ela.5"), "the rows are trained by different recipes"),
        (("--preset", "ean.2", "--gate", "se"), "--preset ean.2 brings its own gates"),
        (("--rows", "resnet50"), "name the table with --preset"),
        (("digits/demo", "--gate", "ean", "--sweep", "groups=1"), "write an option as in"),
        (
            ("digits/demo", "--gate", "ean", "--sweep", "gate.options.grous=1"),
            "ean at block_end grous=1: ean: unknown option 'grous'; did you mean 'groups'?",
        ),
    ],
)
def test_a_preset_or_an_axis_that_does_not_fit(tmp_path, words, sentence):
    said = run("study", *words, "--out", tmp_path / "s")
    assert said.exit_code == 2
    assert said.stderr.startswith("convgate: ") and sentence in said.stderr
    assert said.stderr.count("\n") == 1 and not (tmp_path / "s").exists()


def test_an_option_is_swept(tmp_path):
    out = tmp_path / "s"
    said = run(*TINY, "--gate", "ean", "--sweep", "gate.options.groups=1,4", "--out", out)
    assert said.exit_code == 0, said.output
    lines = said.stdout.splitlines()
    assert max(map(len, lines[:-4])) <= 80
    assert "groups=1" in said.stdout and "groups=4" in said.stdout
    assert "[3/3] ean block_end groups=4 seed 0: " in said.stderr
    assert (out / "groups.svg").is_file()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "s").write_text("x")
    said = run(*TINY, "--out", tmp_path / "s")
    assert said.exit_code == 2 and "s is a file; give a folder to --out" in said.stderr


@pytest.mark.slow
def test_ctrl_c_stops_and_the_same_command_continues(tmp_path):
    words = [*TINY, "--seeds", "3", "--set", "schedule.epochs=4", "--out", str(tmp_path / "s")]
    code = "from convgate.cli import main; main()"
    command = [sys.executable, "-c", code, *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as first:
        assert first.stderr.readline().startswith("[1/6]")
        first.send_signal(signal.SIGINT)
        rest = first.stderr.read()
    assert first.returncode == 130
    assert rest.splitlines()[-1].startswith("convgate: stopped; the same command continues")
    assert "[6/6]" not in rest
    said = run(*words)
    assert said.exit_code == 0
    assert "[1/6]" not in said.stderr and "[6/6]" in said.stderr
