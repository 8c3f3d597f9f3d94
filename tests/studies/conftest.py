"""A study whose training and measuring take no time, and what a second process runs."""

import math
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from convgate.studies import Steps
from convgate.studies.compare import mean_and_std, paired_difference
from convgate.studies.grid import Variant
from convgate.studies.measurements import Facts, Measurements
from convgate.studies.summary import Row
from convgate.train.recipe import Recipe, load_recipe
from convgate.train.record import EpochRecord, FitResult

CELLS = "cells.log"


def fake_fit(recipe, out, *, progress=None, on_epoch=None):
    """Accuracy is a pure function of gate, site and seed; a log keeps who trained what."""
    name = f"{recipe.gate.name}/{recipe.gate.at}" if recipe.gate else "none"
    out.mkdir(parents=True, exist_ok=True)
    with (out.parent / CELLS).open("a") as log:
        log.write(f"{os.getpid()} {recipe.model.name} {name} {recipe.run.seed}\n")
    draw = random.Random(f"{recipe.model.name}/{name}/{recipe.run.seed}")
    top1 = 90 + draw.gauss(0, 1)
    return FitResult(
        top1=top1,
        top5=99.0,
        val_loss=0.2,
        epochs=tuple(epoch(i, top1 - 3 + i) for i in (1, 2, 3)),
        params=1000,
        classes=("a", "b"),
        train_images=100,
        val_images=50,
        skipped=0,
        seconds=30.0,
        out=out,
    )


def epoch(number, top1):
    return EpochRecord(
        epoch=number,
        train_loss=2 * math.exp(-number),
        val_loss=0.2,
        top1=top1,
        top5=99.0,
        lr=0.1,
        images_per_s=1000.0,
        seconds=10.0,
    )


def fake_facts(ratio=1.0, low=None, high=None):
    low, high = ratio if low is None else low, ratio if high is None else high
    return Facts(
        params=1000,
        macs=2_000_000,
        elementwise_ops=3000,
        bytes_moved=4000,
        median_ms=ratio,
        q05_ms=ratio,
        q95_ms=ratio,
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        paired_ms=ratio,
    )


def fake_measure(recipe, records, folder, seconds):
    cells = [record.cell for record in records if record.top1 is not None]
    variants = list(dict.fromkeys(cell.variant for cell in cells))
    facts = {v: fake_facts(1 + 0.03 * i, 0.99 + 0.03 * i) for i, v in enumerate(variants)}
    told = {
        "base": "none",
        "rounds": 9,
        "seconds": 1.0,
        "input_shape": [1, 1, 8, 8],
        "self_test": {"median": 1.0, "low": 0.99, "high": 1.01},
        "warnings": [],
        "reliable": True,
    }
    conditions = {v.model: told for v in variants} | {"distance_images": 50}
    return Measurements(facts, dict.fromkeys(cells, 0.25), conditions, {"device": "cpu"})


FAKE = Steps(check=lambda *_: None, fit=fake_fit, measure=fake_measure)


def dying_fit(real, at_call, at_epoch):
    """Train with ``real``, and die by SIGKILL in the given epoch of the given call."""
    calls = []

    def fit(recipe, out, *, progress=None):
        calls.append(out)

        def die(record):
            if len(calls) == at_call and record.epoch == at_epoch:
                os.kill(os.getpid(), signal.SIGKILL)

        return real(recipe, out, progress=progress, on_epoch=die)

    return fit


def stuck_fit(recipe, out, *, progress=None):
    """Train for ever."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "stuck").touch()
    time.sleep(600)


def make_row(gate, top1, base=None, facts=None, site="block_end", **more):
    """A row of the table from accuracies by seed, without a study around it."""
    variant = Variant("net") if gate == "none" else Variant("net", gate, site)
    mean, std = mean_and_std(list(top1.values()))
    difference = paired_difference(top1, base) if base else None
    return replace(Row(variant, gate, top1, mean, std, difference, facts), **more)


@pytest.fixture(scope="session")
def fake() -> Steps:
    return FAKE


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """Digits with tiny epochs, and no study of its own."""
    recipe = load_recipe("digits/demo")
    schedule = replace(recipe.schedule, epochs=3, warmup_epochs=0)
    return replace(recipe, schedule=schedule, study=None)


@pytest.fixture
def row():
    return make_row


@pytest.fixture
def facts():
    return fake_facts


@pytest.fixture
def trained():
    """Read who trained what: (process, cell) in order."""

    def read(out: Path) -> list[tuple[int, str]]:
        lines = [
            line.split(" ", 1)
            for log in sorted(out.rglob(CELLS))
            for line in log.read_text().splitlines()
        ]
        return [(int(pid), cell) for pid, cell in lines]

    return read
