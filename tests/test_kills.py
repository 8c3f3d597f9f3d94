"""Commands killed at random moments: what stands there is whole, and the rest comes out the same.

A row is a command. It is run once in peace, then again and again from an empty folder: killed by
SIGKILL, looked at, continued by the same command, until it ends by itself; then its answer must be
that of the peaceful run. Half of the kills are at any moment, half while a file is being written.
"""

import contextlib
import csv
import json
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from fixtures.processes import convgate, process
from fixtures.whole import check_whole, on_its_way

SEED = int(os.environ.get("CONVGATE_KILL_SEED", time.time_ns() % 1_000_000))
SHORT = ("data.train_count=200", "schedule.epochs=12", "schedule.warmup_epochs=1")
TRAINING = ("digits/demo", *(word for setting in SHORT for word in ("--set", setting)))


@dataclass(frozen=True)
class Command:
    """Words of the command line, how often it is killed, and what must come out equal."""

    words: tuple[str, ...]
    kills: int
    answer: Callable[[Path], object]


def same_bytes(*names: str) -> Callable[[Path], object]:
    return lambda folder: [(folder / name).read_bytes() for name in names]


def learned(folder: Path) -> object:
    found = json.loads((folder / "run" / "result.json").read_text())
    curves = [(epoch["train_loss"], epoch["scores"]) for epoch in found["epochs"]]
    return found["scores"], curves, (folder / "run" / "weights.safetensors").read_bytes()


def compared(folder: Path) -> object:
    keys = "gate", "site", "seed", "state", "top1", "difference", "val_loss", "train_loss"
    with (folder / "study" / "results.csv").open() as file:
        return [[row[key] for key in keys] for row in csv.DictReader(file)]


STUDY = ("study", *TRAINING, "--gate", "se", "--seeds", "2", "--seconds", "0.2", "--out", "study")
EXPORT = ("export", "resnet8", "--fixed-size", "--format")
COMMANDS = {
    "train": Command(("train", *TRAINING, "--out", "run"), 30, learned),
    "study": Command(STUDY, 20, compared),
    "onnx": Command((*EXPORT, "onnx", "--out", "n.onnx"), 20, same_bytes("n.onnx")),
    "openvino": Command((*EXPORT, "openvino", "--out", "n.xml"), 20, same_bytes("n.xml", "n.bin")),
    "insert": Command(
        ("insert", "resnet26", "--gate", "se", "--out", "n.safetensors"),
        20,
        same_bytes("n.safetensors"),
    ),
}
"""What is tried: a further verb is a further row."""


def run_in(folder: Path, *words: str) -> None:
    os.chdir(folder)  # names without it: a card keeps the words of the command
    os.dup2(2, 1)  # both streams into one file
    torch.set_num_threads(1)
    torch.manual_seed(0)  # random weights are the same in every process
    convgate(*words)


def killed(folder: Path, command: Command, seconds: float, draw: random.Random) -> bool:
    """Run a command until a random moment or its end; tell whether it was killed."""
    writing, before = draw.random() < 0.5, sizes(folder)
    with process(run_in, folder, *command.words, errors=folder / "said.txt") as run:
        end = time.monotonic() + (1.2 * seconds if writing else draw.uniform(0, seconds))
        while run.is_alive() and time.monotonic() < end:
            if writing and sizes(folder).keys() - before and draw.random() < 0.1:
                break
            time.sleep(0.002)
        run.kill()
        run.join()
    assert run.exitcode in (0, -9, 2), (folder / "said.txt").read_text()
    if run.exitcode == 2:  # killed behind the last write: the file is there
        assert (folder / "said.txt").read_text().rstrip().endswith("or add --force")
    return run.exitcode == -9


def sizes(folder: Path) -> dict[tuple[Path, int], int]:
    """Return what is on its way below a folder, by name and time, with its size in bytes."""
    found = {}
    for path in on_its_way(folder):
        with contextlib.suppress(FileNotFoundError):  # has its name by now
            status = path.stat()
            found[path, status.st_mtime_ns] = status.st_size
    return found


def in_peace(folder: Path, command: Command) -> tuple[object, float]:
    folder.mkdir()
    with process(os.getpid) as first:  # loads what every later process is a copy of
        first.join()
    started = time.monotonic()
    with process(run_in, folder, *command.words, errors=folder / "said.txt") as run:
        run.join()
    assert run.exitcode == 0, (folder / "said.txt").read_text()
    return command.answer(folder), time.monotonic() - started


@pytest.fixture(scope="module")
def sums() -> Iterator[list[Counter[str]]]:
    rows: list[Counter[str]] = []
    yield rows
    total = sum(rows, Counter())
    print(f"all: {said(total)}; seed {SEED}")


def said(found: Counter[str]) -> str:
    return ", ".join(f"{key} {count:,}" for key, count in sorted(found.items()))


@pytest.mark.kill
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_killed_command_leaves_nothing_half_and_ends_the_same(name, tmp_path, sums):
    command, draw, found = COMMANDS[name], random.Random(f"{SEED}/{name}"), Counter()
    wanted, seconds = in_peace(tmp_path / "peace", command)
    sums.append(found)
    while found["kills"] < command.kills:
        folder = tmp_path / f"{found['ended']}"
        folder.mkdir()
        started, before = time.monotonic(), sizes(folder)
        while killed(folder, command, seconds, draw):
            found["kills"] += 1
            found["files"] += check_whole(folder)
            cut = {key: size for key, size in sizes(folder).items() if key not in before}
            before = sizes(folder)
            found["writes cut"] += bool(cut)
            found["bytes cut"] += sum(cut.values())
        found["files"] += check_whole(folder)
        assert command.answer(folder) == wanted
        assert not on_its_way(folder)
        lines = re.findall(r"^epoch (\d+)/.*", (folder / "said.txt").read_text(), re.M)
        repeated = len(lines) - len(set(lines)) if name == "train" else 0
        assert repeated == 0, "an epoch whose line was printed is on the disk"
        found["ended"] += 1
        found["seconds"] += round(time.monotonic() - started)
        found["seconds in peace"] += round(seconds)
    print(f"{name}: {said(found)}")
