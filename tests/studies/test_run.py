"""A study as a whole: interrupted, shared, extended, refused."""

import csv
import json
import os
import signal
import threading
import time
from dataclasses import replace

import pytest
import torch

from convgate import spec
from convgate.errors import Diverged, InputError
from convgate.studies import Steps, run_study
from convgate.studies.report import write_report
from convgate.studies.trials import Trials
from convgate.train.fit import fit
from convgate.train.recipe import load_recipe
from fixtures.fake_study import dying_fit, fake_measure, stuck_fit
from fixtures.processes import process, wait_for

CHOICES = {"gates": ["se", "eca"], "seeds": 2, "progress": False}


def study_that_dies(recipe, out):
    """Train in earnest, and die by SIGKILL in the second epoch of the third cell."""
    torch.set_num_threads(1)
    steps = Steps(fit=dying_fit(fit, 3, 2), measure=fake_measure)
    run_study(recipe, out, steps=steps, gates=["se"], seeds=2)


def study_that_is_stuck(out):
    """Take a cell, and train it for ever."""
    steps = Steps(check=lambda *_: None, fit=stuck_fit, measure=fake_measure)
    run_study("digits/demo", out, steps=steps, **CHOICES)


@pytest.fixture
def one_thread():
    """Sums are taken in the same order in all processes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def results(out):
    with (out / "results.csv").open() as file:
        return list(csv.DictReader(file))


def accuracy(out):
    keys = ("gate", "site", "seed", "state", "top1", "difference", "val_loss", "train_loss")
    return [{key: run[key] for key in keys} for run in results(out)]


def keep_and(calls, function):
    """Call the function, and keep what it was called with."""
    return lambda *args: (calls.append(args), function(*args))[1]


def test_a_study_leaves_its_files_and_an_answer(recipe, fake, tmp_path, trained):
    result = run_study(recipe, tmp_path / "s", steps=fake, **CHOICES)
    assert {p.name for p in (tmp_path / "s").iterdir()} == {
        *("study.db", "locks", "trials", "recipe.toml", "latency.json", "results.csv"),
        *("summary.json", "report.html", "report.md"),
        *("accuracy_latency.svg", "accuracy_latency.png", "curves.svg", "curves.png"),
        *("difference.svg", "difference.png", "latency_ratio.svg", "latency_ratio.png"),
        *("loss.svg", "loss.png"),
    }
    assert len(trained(tmp_path)) == len(set(trained(tmp_path))) == 6
    assert [row.label for row in result.rows] == ["none", "se", "eca"]
    runs = results(tmp_path / "s")
    for row in result.rows:
        mine = [float(r["top1"]) for r in runs if r["gate"] == row.variant.gate]
        assert mine == list(row.top1.values())
        assert row.mean == pytest.approx(sum(mine) / 2)
    assert result.answer == (tmp_path / "s" / "report.md").read_text().splitlines()[0]


def test_a_finished_study_only_rebuilds_its_report(recipe, fake, tmp_path, trained):
    first = run_study(recipe, tmp_path / "s", steps=fake, **CHOICES)
    (tmp_path / "s" / "report.html").unlink()
    none = replace(fake, measure=None)
    again = run_study(recipe, tmp_path / "s", steps=none, budget=1.5, **CHOICES)
    assert (tmp_path / "s" / "report.html").is_file()
    assert len(trained(tmp_path)) == 6
    assert [row.top1 for row in again.rows] == [row.top1 for row in first.rows]
    assert "1.50x" in again.answer
    with pytest.raises(TypeError):  # the measuring that is not there is asked for
        run_study(recipe, tmp_path / "s", steps=none, remeasure=True, **CHOICES)


def test_more_gates_and_seeds_extend_it(recipe, fake, tmp_path, trained):
    run_study(recipe, tmp_path, steps=fake, gates=["se"], seeds=2, progress=False)
    result = run_study(recipe, tmp_path, steps=fake, gates=["se", "ca"], seeds=3, progress=False)
    assert len(trained(tmp_path)) == len(set(trained(tmp_path))) == 9
    assert {row.label: list(row.top1) for row in result.rows} == {
        "none": [0, 1, 2],
        "se": [0, 1, 2],
        "ca": [0, 1, 2],
    }


def test_backbones_and_sites_multiply(recipe, fake, tmp_path):
    result = run_study(
        recipe,
        tmp_path,
        steps=fake,
        gates=["se"],
        models=["resnet8", "resnet20"],
        sites=["block_end", "spatial"],
        seeds=1,
        budget=2.0,
        progress=False,
    )
    labels = ["none", "se @ block_end", "se @ spatial"]
    assert [row.label for row in result.rows] == [
        f"{model}: {label}" for model in ("resnet8", "resnet20") for label in labels
    ]
    base = {row.variant.model: row.top1[0] for row in result.rows if row.variant.is_base}
    for row in result.rows:
        if not row.variant.is_base:
            assert row.difference.mean == pytest.approx(row.top1[0] - base[row.variant.model])
    assert result.answer.count("No interval from one seed") == 2


def test_killed_in_the_middle_it_ends_with_the_same_table(recipe, fake, tmp_path, one_thread):
    """SIGKILL in the second epoch of the third cell; the real training continues it."""
    file = tmp_path / "tiny.toml"
    file.write_text(spec.dump(replace(recipe, data=replace(recipe.data, train_count=200))))
    steps = replace(fake, fit=fit)
    with process(study_that_dies, load_recipe(file), tmp_path / "killed") as killed:
        run_study(file, tmp_path / "whole", steps=steps, gates=["se"], seeds=2, progress=False)
        killed.join(120)
        assert killed.exitcode == -signal.SIGKILL
    trials = tmp_path / "killed" / "trials"
    assert len(list(trials.rglob("result.json"))) == 2
    assert len(list(trials.rglob("last.ckpt"))) == 3
    run_study(file, tmp_path / "killed", steps=steps, gates=["se"], seeds=2, progress=False)
    assert accuracy(tmp_path / "killed") == accuracy(tmp_path / "whole")
    for run in trials.rglob("result.json"):
        epochs = json.loads(run.read_text())["epochs"]
        assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]


def test_processes_share_the_grid_and_outlive_each_other(recipe, fake, tmp_path, trained, capfd):
    """A second process takes other cells; when it is killed, the first takes over at once."""
    out = tmp_path / "s"
    with process(study_that_is_stuck, out) as helper:

        def kill_when_waited_for():
            wait_for(lambda: len(trained(out)) == 5)
            time.sleep(1)
            os.kill(helper.pid, signal.SIGKILL)

        killer = threading.Thread(target=kill_when_waited_for)
        wait_for(lambda: list(out.rglob("stuck")))
        killer.start()
        run_study("digits/demo", out, steps=fake, gates=["se", "eca"], seeds=2)
        killer.join()
    assert len(trained(out)) == len(set(trained(out))) == 6
    assert [run["state"] for run in results(out)] == ["done"] * 6
    said = capfd.readouterr().err
    assert said.count("waiting for 1 cell that another process trains") == 1
    assert "[6/6]" in said


def test_exactly_one_process_writes_the_report(recipe, fake, tmp_path, capfd, monkeypatch):
    """The other one waits, says so, and finds the report done."""
    measured, written = [], []
    monkeypatch.setattr("convgate.studies.run.write_report", keep_and(written, write_report))
    inside = threading.Event()

    def measure(*args):
        measured.append(1)
        inside.set()
        time.sleep(1.5)
        return fake.measure(*args)

    steps = replace(fake, measure=measure)
    first = threading.Thread(target=lambda: run_study(recipe, tmp_path, steps=steps, **CHOICES))
    first.start()
    inside.wait(60)
    run_study(recipe, tmp_path, steps=steps, gates=["se", "eca"], seeds=2)
    first.join()
    assert (len(measured), len(written)) == (1, 1)
    said = capfd.readouterr().err
    assert "another process measures and writes the report; waiting for it" in said


def test_ctrl_c_leaves_a_study_that_continues(recipe, fake, tmp_path, trained):
    calls = []

    def interrupted(recipe, out, **_):
        calls.append(out)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return fake.fit(recipe, out)

    with pytest.raises(KeyboardInterrupt):
        run_study(recipe, tmp_path, steps=replace(fake, fit=interrupted), **CHOICES)
    assert len(trained(tmp_path)) == 2
    assert [record.state for record in Trials(tmp_path).records()] == ["done"] * 2 + ["waiting"] * 4
    run_study(recipe, tmp_path, steps=fake, **CHOICES)
    assert len(trained(tmp_path)) == len(set(trained(tmp_path))) == 6


def test_a_diverged_cell_is_shown_and_the_others_go_on(recipe, fake, tmp_path):
    def diverging(recipe, out, **_):
        if recipe.gate and recipe.gate.name == "se" and recipe.run.seed == 1:
            raise Diverged("the loss is nan in epoch 2, step 7; lower optimizer.lr")
        return fake.fit(recipe, out)

    result = run_study(recipe, tmp_path, steps=replace(fake, fit=diverging), **CHOICES)
    se = next(row for row in result.rows if row.label == "se")
    assert list(se.top1) == [0] and se.difference.pairs == 1
    assert se.failed == {1: "the loss is nan in epoch 2, step 7; lower optimizer.lr"}
    for name in ("report.md", "report.html", "results.csv"):
        assert "the loss is nan in epoch 2" in (tmp_path / name).read_text()


def test_nothing_trained_is_an_error(recipe, fake, tmp_path):
    def diverging(recipe, out, **_):
        raise Diverged("the loss is nan in epoch 1, step 1")

    steps = replace(fake, fit=diverging)
    with pytest.raises(InputError, match="no cell of the study could be trained: the loss is nan"):
        run_study(recipe, tmp_path, steps=steps, **CHOICES)


def test_progress_counts_cells_and_guesses_the_rest(recipe, fake, tmp_path, capsys):
    run_study(recipe, tmp_path, steps=fake, gates=["se"], seeds=2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("[1/4] none seed 0: ")
    assert lines[0].endswith(" % in 30 s, about 2 min left")  # three cells of 30 s
    assert lines[1].startswith("[2/4] se block_end seed 0: ")
    assert lines[3].endswith(" % in 30 s")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"gates": ["selm"]}, "unknown gate 'selm'; did you mean 'seln'?"),
        ({"gates": "seln"}, "gates='seln': give a list of names"),
        ({"seeds": 0}, "seeds=0 must be 1 or more"),
        ({"budget": 1.0}, "budget=1.0: a multiple of the base's latency, which must be above 1"),
        ({"budget": float("nan")}, "budget=nan"),
    ],
)
def test_bad_choices_get_a_sentence(recipe, fake, tmp_path, change, sentence):
    with pytest.raises(InputError) as error:
        run_study(recipe, tmp_path / "s", steps=fake, **CHOICES | change)
    assert str(error.value).startswith(sentence)
    assert not (tmp_path / "s").exists()


def test_what_cannot_be_built_fails_before_training(recipe, fake, tmp_path, trained):
    steps = replace(fake, check=type(fake)().check)
    with pytest.raises(InputError, match=r"^sa at block_end: .*16"):
        run_study(recipe, tmp_path / "s", steps=steps, gates=["se", "sa"], progress=False)
    with pytest.raises(InputError, match=r"^se at blok_end: .*did you mean 'block_end'"):
        run_study(recipe, tmp_path / "s", steps=steps, gates=["se"], sites=["blok_end"])
    with pytest.raises(InputError, match="unknown model"):
        run_study(recipe, tmp_path / "s", steps=steps, gates=["se"], models=["resnet9999"])
    assert not (tmp_path / "s").exists()


def test_another_recipe_needs_another_folder(recipe, fake, tmp_path):
    run_study(recipe, tmp_path, steps=fake, **CHOICES)
    other = replace(recipe, optimizer=replace(recipe.optimizer, lr=0.3))
    with pytest.raises(InputError, match=r"optimizer\.lr was 0\.1, is 0\.3.*another folder"):
        run_study(other, tmp_path, steps=fake, **CHOICES)
    moved = replace(recipe, data=replace(recipe.data, path="elsewhere"))
    run_study(moved, tmp_path, steps=fake, **CHOICES)


def test_only_a_study_folder_is_written_to(recipe, fake, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is a file; give a folder"):
        run_study(recipe, tmp_path / "file", steps=fake, **CHOICES)
    with pytest.raises(InputError, match="holds other files and no study"):
        run_study(recipe, tmp_path, steps=fake, **CHOICES)
