import json
import os
import signal

import pytest
import torch

from convgate.storage import LAST, RESULT, WEIGHTS, load_checkpoint, load_weights
from convgate.train.classification import Classification
from convgate.train.fit import fit
from fixtures.processes import two_processes
from fixtures.resumed import STATEFUL, assert_same


def score(recipe, out):
    return fit(recipe, out).score


def train_until_killed(recipe, out, epoch, batch):
    """Train until a pass of an epoch has ended, counted from zero, and die there unprepared."""
    ended = Classification.on_train_batch_end

    def die(self, outputs, images, index):
        ended(self, outputs, images, index)
        if (self.trainer.current_epoch, index) == (epoch, batch):
            os.kill(os.getpid(), signal.SIGKILL)

    Classification.on_train_batch_end = die
    return score(recipe, out)


def run_in_two(folder, function, *args):
    """Return how two processes that share a training ended, and what they said."""
    with two_processes(folder, function, *args) as both:
        for each in both:
            each.join(120)
        return [each.exitcode for each in both], (folder / "errors").read_text()


@pytest.mark.parametrize("passes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_two_processes_equal_one_with_the_doubled_batch(tiny, tmp_path, passes):
    """One process takes 40 images an update, each of two takes 20; no batch statistics."""
    recipe = tiny(
        "model.name=test_convnext",
        "data.image_px=32",
        "schedule.epochs=2",
        "optimizer.lr=0.01",
        "gate.name=seln",
        "run.ema_decay=0.9",
        "augment.mixup=0.2",
        "augment.random_erasing=0.5",
        f"run.accumulate={passes}",
    )
    ran = tmp_path / "ran"
    with two_processes(ran, score, recipe, tmp_path / "two") as two:
        one = fit(recipe, tmp_path / "one", progress=False)
        for each in two:
            each.join(120)
    said = (ran / "errors").read_text()
    assert [each.exitcode for each in two] == [0, 0], said
    # Both processes know the whole score, and only one of them speaks.
    assert [json.loads((ran / f"{rank}.json").read_text()) for rank in range(2)] == [one.score] * 2
    assert said.count("epoch 2/2") == 1
    weights = [load_weights(tmp_path / name / WEIGHTS)[0] for name in ("one", "two")]
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-4, atol=1e-6)
    records = [
        load_checkpoint(tmp_path / name / LAST)["convgate"]["records"] for name in ("one", "two")
    ]
    records = [[epoch | epoch["scores"] for epoch in one] for one in records]
    for key in ("train_loss", "val_loss", "top1", "lr"):
        torch.testing.assert_close(
            [epoch[key] for epoch in records[1]], [epoch[key] for epoch in records[0]],
            rtol=1e-4, atol=1e-6,
        )  # fmt: skip


@pytest.mark.slow
def test_two_processes_killed_between_passes_resume_bit_for_bit(tiny, tmp_path):
    """Both die after the third of ten passes, in the middle of an update; twice."""
    recipe = tiny(*STATEFUL)
    ended, said = run_in_two(tmp_path / "unbroken", score, recipe, tmp_path / "whole")
    assert ended == [0, 0], said
    for epoch in (1, 3):
        killed = tmp_path / f"killed-{epoch}"
        ended, said = run_in_two(killed, train_until_killed, recipe, tmp_path / "broken", epoch, 2)
        assert ended == [-signal.SIGKILL] * 2, said
        kept = load_checkpoint(tmp_path / "broken" / LAST)["convgate"]["records"]
        assert len(kept) == epoch and not (tmp_path / "broken" / RESULT).exists()
    ended, said = run_in_two(tmp_path / "resumed", score, recipe, tmp_path / "broken")
    assert ended == [0, 0], said
    states = [load_checkpoint(tmp_path / name / LAST) for name in ("whole", "broken")]
    assert "averaging_state" in states[0]
    assert_same(*states)
    assert_same(*(load_weights(tmp_path / name / WEIGHTS)[0] for name in ("whole", "broken")))
    told = [(tmp_path / name / "1.json").read_text() for name in ("unbroken", "resumed")]
    assert told[0] == told[1]
