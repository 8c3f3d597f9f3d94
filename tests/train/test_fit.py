import csv
import dataclasses
import json
import math
import os
import signal
import time

import pytest
import torch
from torch import nn

from convgate.errors import CorruptFile, InputError
from convgate.insertion import insert
from convgate.models import create_model
from convgate.networks import open_network
from convgate.storage import LAST, RESULT, WEIGHTS, load_checkpoint, load_weights
from convgate.train import fit as package_fit
from convgate.train.classification import Classification
from convgate.train.data import Batches
from convgate.train.evaluate import evaluate
from convgate.train.fit import fit
from convgate.train.record import METRICS
from fixtures.processes import convgate, process, wait_for
from fixtures.resumed import STATEFUL, assert_same


def stop_after(epoch):
    def listener(record):
        if record.epoch == epoch:
            raise KeyboardInterrupt

    return listener


def learned(result):
    """Return what must not depend on the machine's mood: all but the times."""
    timed = {"images_per_s", "seconds"}
    return [
        {k: v for k, v in dataclasses.asdict(record).items() if k not in timed}
        for record in result.epochs
    ]


def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(tiny, tmp_path):
    recipe = tiny(*STATEFUL)
    whole = fit(recipe, tmp_path / "whole", progress=False)
    for epoch in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            fit(recipe, tmp_path / "broken", progress=False, on_epoch=stop_after(epoch))
        assert not (tmp_path / "broken" / RESULT).exists()
    resumed = fit(recipe, tmp_path / "broken", progress=False)
    assert learned(resumed) == learned(whole)
    states = [load_checkpoint(tmp_path / name / LAST) for name in ("whole", "broken")]
    assert "averaging_state" in states[0]
    assert_same(*states)
    files = [load_weights(tmp_path / name / WEIGHTS)[0] for name in ("whole", "broken")]
    assert_same(*files)


def test_batch_norm_and_sgd_resume_bit_for_bit_too(tiny, tmp_path):
    recipe = tiny("gate.name=seln", "run.dtype=bfloat16")
    fit(recipe, tmp_path / "whole", progress=False)
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, tmp_path / "broken", progress=False, on_epoch=stop_after(2))
    fit(recipe, tmp_path / "broken", progress=False)
    assert_same(*(load_checkpoint(tmp_path / name / LAST) for name in ("whole", "broken")))


def test_every_epoch_asks_for_its_own_batches(tiny, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(Batches, "set_epoch", lambda batches, epoch: asked.append(epoch))
    with pytest.raises(KeyboardInterrupt):
        fit(tiny(), tmp_path, progress=False, on_epoch=stop_after(2))
    assert asked == [0, 1]
    fit(tiny(), tmp_path, progress=False)
    assert asked == [0, 1, 2, 3]


def test_it_learns_and_leaves_a_complete_folder(tiny, tmp_path, capsys):
    out = tmp_path / "run"
    result = fit(tiny("schedule.epochs=6", "data.train_count=600"), out)
    assert result.scores["top1"] > 80
    assert (result.train_images, result.val_images, result.skipped) == (600, 360, 0)
    assert result.classes == tuple(map(str, range(10)))
    assert {path.name for path in out.iterdir()} == {
        "recipe.toml", LAST, METRICS, "tensorboard", WEIGHTS, RESULT,
    }  # fmt: skip
    rows = list(csv.DictReader((out / METRICS).read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert float(rows[-1]["top1"]) == result.scores["top1"]
    assert json.loads((out / RESULT).read_text())["scores"] == result.scores
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert lines[-1].startswith("epoch 6/6")
    assert fit(tiny("schedule.epochs=6", "data.train_count=600"), out, progress=False) == result
    assert package_fit is fit


def test_the_rate_of_every_epoch_follows_the_schedule(tiny, tmp_path):
    recipe = tiny(
        "schedule.name=step", "schedule.milestones=[2, 3]", "optimizer.lr=0.04",
        "schedule.warmup_epochs=0",
    )  # fmt: skip
    rates = [record.lr for record in fit(recipe, tmp_path / "a", progress=False).epochs]
    assert rates == pytest.approx([0.04, 0.04, 0.004, 0.0004])


def test_averaged_weights_are_scored_and_exported(tiny, tmp_path):
    """With a decay of almost one the average stays at the first step, and so does its score."""
    still = fit(tiny("run.ema_decay=0.999999"), tmp_path / "still", progress=False)
    moving = fit(tiny(), tmp_path / "moving", progress=False)
    assert still.epochs[-1].train_loss == moving.epochs[-1].train_loss
    assert still.scores["val_loss"] > 1.5 > moving.scores["val_loss"]
    state = load_checkpoint(tmp_path / "still" / LAST)
    exported, _ = load_weights(tmp_path / "still" / WEIGHTS)
    assert torch.equal(exported["fc.weight"], state["state_dict"]["model.fc.weight"])
    assert not torch.equal(exported["fc.weight"], state["current_model_state"]["model.fc.weight"])


def test_accumulated_passes_equal_one_pass(tiny, tmp_path):
    """Without batch statistics two halves have the gradient of the whole."""
    settings = (
        "model.name=test_convnext",
        "data.image_px=32",
        "augment.crop=none",
        "optimizer.lr=0.01",
    )
    whole = fit(tiny(*settings), tmp_path / "whole", progress=False)
    halves = fit(tiny(*settings, "run.accumulate=2"), tmp_path / "halves", progress=False)
    for one, two in zip(whole.epochs, halves.epochs, strict=True):
        assert two.train_loss == pytest.approx(one.train_loss, rel=1e-4)
        assert two.scores["val_loss"] == pytest.approx(one.scores["val_loss"], rel=1e-4)
        assert two.lr == one.lr


@pytest.mark.slow
def test_a_compiled_network_learns_the_same_and_keeps_its_keys(tiny, tmp_path):
    settings = ("gate.name=seln", "schedule.epochs=2", "optimizer.lr=0.01", "run.ema_decay=0.9")
    eager = fit(tiny(*settings), tmp_path / "eager", progress=False)
    compiled = fit(tiny(*settings, "run.compile=true"), tmp_path / "compiled", progress=False)
    assert compiled.epochs[-1].train_loss == pytest.approx(eager.epochs[-1].train_loss, rel=1e-3)
    files = [load_weights(tmp_path / name / WEIGHTS)[0] for name in ("eager", "compiled")]
    assert files[0].keys() == files[1].keys()


def test_another_recipe_does_not_take_over_a_folder(tiny, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(tiny(), tmp_path, progress=False, on_epoch=stop_after(1))
    before = (tmp_path / LAST).read_bytes()
    with pytest.raises(
        InputError, match=r"another recipe \(optimizer\.lr was 0\.1, is 0\.2\); choose"
    ):
        fit(tiny("optimizer.lr=0.2"), tmp_path, progress=False)
    assert (tmp_path / LAST).read_bytes() == before
    (tmp_path / "recipe.toml").unlink()
    with pytest.raises(InputError, match=r"holds a last\.ckpt but no recipe\.toml"):
        fit(tiny(), tmp_path, progress=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file; choose a folder"):
        fit(tiny(), tmp_path / "file", progress=False)


def test_a_mistake_does_not_occupy_the_folder(tiny, tmp_path):
    with pytest.raises(InputError, match="unknown gate 'selm'"):
        fit(tiny("gate.name=selm"), tmp_path, progress=False)
    assert not list(tmp_path.iterdir())
    fit(tiny("gate.name=seln", "schedule.epochs=1"), tmp_path, progress=False)


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_damaged_or_foreign_checkpoint_is_named(tiny, tmp_path, damage):
    with pytest.raises(KeyboardInterrupt):
        fit(tiny(), tmp_path, progress=False, on_epoch=stop_after(1))
    whole = (tmp_path / LAST).read_bytes()
    (tmp_path / LAST).write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    with pytest.raises(CorruptFile, match=r"last\.ckpt: truncated or not a checkpoint"):
        fit(tiny(), tmp_path, progress=False)
    torch.save({"state_dict": {}}, tmp_path / LAST)
    with pytest.raises(CorruptFile, match=r"last\.ckpt: not a checkpoint of convgate"):
        fit(tiny(), tmp_path, progress=False)


def test_a_loss_that_leaves_the_numbers_stops_and_keeps_the_last_epoch(tiny, tmp_path, monkeypatch):
    recipe = tiny()
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, tmp_path, progress=False, on_epoch=stop_after(1))
    good = (tmp_path / LAST).read_bytes()
    sound = Classification.training_step

    def poisoned(self, batch, index):
        return sound(self, batch, index) * (math.nan if index == 2 else 1)

    monkeypatch.setattr(Classification, "training_step", poisoned)
    with pytest.raises(InputError, match=r"the loss is nan in epoch 2, step 3; .* holds epoch 1"):
        fit(recipe, tmp_path, progress=False)
    assert (tmp_path / LAST).read_bytes() == good
    monkeypatch.undo()
    assert len(fit(recipe, tmp_path, progress=False).epochs) == 4


def test_a_full_disk_surfaces_and_leaves_no_half_file(tiny, tmp_path, monkeypatch):
    real, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == 4:  # recipe, first checkpoint, first table, second checkpoint
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        fit(tiny(), tmp_path, progress=False)
    assert caught.value.filename == str(tmp_path / LAST)
    assert not list(tmp_path.glob(".*"))
    assert len(load_checkpoint(tmp_path / LAST)["convgate"]["records"]) == 1
    assert len(fit(tiny(), tmp_path, progress=False).epochs) == 4


def test_float16_without_a_gpu_and_a_batch_that_does_not_divide(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="float16' needs a GPU; set"):
        fit(tiny("run.dtype=float16"), tmp_path / "half", progress=False)
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(InputError, match="batch_size=40 cannot be shared by 3 processes"):
        fit(tiny(), tmp_path / "three", progress=False)


@pytest.fixture
def running(tmp_path):
    """A long run in a process of its own, past its first epochs."""
    words = ["train", "digits/demo", "--out", str(tmp_path / "run")]
    words += ["--set", "schedule.epochs=500", "--set", "data.train_count=200"]
    said = tmp_path / "said.txt"
    with process(convgate, *words, errors=said) as run:
        wait_for(lambda: said.is_file() and "\nepoch 3/" in said.read_text())
        yield run


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_can_be_continued(running, tmp_path, sent):
    os.kill(running.pid, sent)
    running.join(60)
    rest = (tmp_path / "said.txt").read_text()
    assert running.exitcode == 130, rest
    assert "stopped; the same command continues" in rest
    assert "Traceback" not in rest
    assert len(load_checkpoint(tmp_path / "run" / LAST)["convgate"]["records"]) >= 3


def test_a_killed_run_leaves_a_whole_checkpoint(running, tmp_path):
    time.sleep(0.1)
    running.kill()
    running.join(60)
    records = load_checkpoint(tmp_path / "run" / LAST)["convgate"]["records"]
    assert [record["epoch"] for record in records] == list(range(1, len(records) + 1))


def test_a_finished_run_is_prolonged_as_if_it_had_always_been_longer(tiny, tmp_path):
    steps = ("schedule.name=step", "schedule.milestones=[2, 3]", "schedule.warmup_epochs=0")
    short, long = (tiny(*steps, f"schedule.epochs={count}") for count in (2, 4))
    fit(short, tmp_path / "a", progress=False)
    prolonged = fit(long, tmp_path / "a", progress=False)
    whole = fit(long, tmp_path / "b", progress=False)
    assert learned(prolonged) == learned(whole)
    assert_same(*(load_weights(tmp_path / name / WEIGHTS)[0] for name in "ab"))
    with pytest.raises(InputError, match="holds a run of 4 epochs, more than 2"):
        fit(short, tmp_path / "a", progress=False)


def test_a_schedule_that_depends_on_the_epochs_is_not_prolonged(tiny, tmp_path):
    fit(tiny("schedule.epochs=2"), tmp_path, progress=False)
    with pytest.raises(InputError, match=r"\(cosine\) would have had other rates from the first"):
        fit(tiny("schedule.epochs=3"), tmp_path, progress=False)
    fit(tiny("schedule.epochs=1"), tmp_path / "one", progress=False)
    with pytest.raises(InputError, match="holds a run of 1 epoch, and with 2"):
        fit(tiny("schedule.epochs=2"), tmp_path / "one", progress=False)


@pytest.mark.parametrize("name", ["metrics.csv", "weights.safetensors", "result.json"])
def test_files_of_somebody_else_are_not_overwritten(tiny, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=f"holds a {name} but no recipe"):
        fit(tiny(), tmp_path, progress=False)
    assert (tmp_path / name).read_text() == "mine"


def gated():
    """A network that a caller builds: resnet8 for grey pictures, with two kinds of gates."""
    model = create_model("resnet8", num_classes=10, in_chans=1)
    insert(model, "seln", stages=[2, 3], reduction=4)
    insert(model, "eca", at="stem_end")
    return model


def test_a_network_of_the_callers_own_is_trained_from_its_weights(tiny, tmp_path):
    """Its file opens again by what it says of itself; the recipe's model and gate do not count."""
    model = gated()
    with torch.no_grad():
        model.fc.bias.fill_(3.0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    result = fit(tiny("schedule.epochs=1"), tmp_path / "run", model=model, progress=False)
    network = open_network(tmp_path / "run")
    stages = {g.name: [place.stage for place in g.places] for g in network.card.gates}
    assert stages == {"eca": [0], "seln": [2, 3]}
    after = network.model.state_dict()
    assert after.keys() == before.keys()
    assert not torch.equal(after["fc.weight"], before["fc.weight"])
    assert float(after["fc.bias"].mean()) > 2.5  # it started where the caller's network was
    assert evaluate(tmp_path / "run").scores == result.scores


class Own(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4, classes)

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)))


def test_a_module_of_any_kind_is_trained_and_scored_by_its_owner(tiny, tmp_path):
    recipe = tiny("schedule.epochs=1")
    result = fit(recipe, tmp_path / "run", model=Own(), progress=False)
    with pytest.raises(InputError, match="its owner built in Python"):
        open_network(tmp_path / "run")
    assert evaluate(tmp_path / "run", model=Own()).scores == result.scores
    with pytest.raises(InputError, match="build it with num_classes=10"):
        fit(recipe, tmp_path / "other", model=Own(7), progress=False)
    with pytest.raises(InputError, match="does not take the data's pictures of 1 x 8 x 8"):
        fit(recipe, tmp_path / "other", model=create_model("resnet8"), progress=False)
    assert not (tmp_path / "other").exists()
