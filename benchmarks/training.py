"""Images a second of `convgate train`, of a loop over timm's loader, and of the bare step.

    python -m benchmarks.training --rounds 9 --threads 2 --out docs/results/training.csv

Three cases: ResNet-20 at 32 px, ResNet-18 at 96 px and the fine-tuning of EfficientNet-Lite0 at
128 px, each on JPEG files that are made here. The three ways train the same network on the same
pictures, with the same optimizer, batch, dtype and augmentation (windows of 8 to 100 % of the area
and mirrors; at 32 px mirrors alone), for one epoch each, in turns of random order:

  convgate    `fit`, what `convgate train` calls, with its data in memory where they fit, loss
              guard, schedule and records; the rate is the one that it notes itself
  timm        a loop over timm's loader, built as its train.py builds it, with as many workers
  bare step   forward, loss, backward, update on batches that lie in memory, ready

A ratio is the median over the rounds of one way's rate over the bare step's, with the least and the
largest. It needs a quiet machine. --first-step times a new process to the end of its first step.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from timm.data import create_dataset, create_loader
from torch import Tensor
from torch.nn import functional as F

from convgate.storage import write_csv
from convgate.train.fit import fit
from convgate.train.job import Job, open_job
from convgate.train.optim import create_optimisation
from convgate.train.recipe import Recipe, load_recipe, override

CLASSES = 10
Way = Callable[[], float]


@dataclass(frozen=True)
class Case:
    """What is trained: a recipe with changes, and the sides of its JPEG files in pixels."""

    recipe: str
    changes: tuple[str, ...]
    side: int

    def settings(self, data: Path, batch: int, dtype: str) -> Recipe:
        return override(
            load_recipe(self.recipe),
            *("data.name=folder", f"data.path={data}", "data.val_count=20", "data.val_share=0"),
            *("schedule.epochs=1", "schedule.warmup_epochs=0", "run.ema_decay=0"),
            *(f"run.batch_size={batch}", f"run.dtype={dtype}", *self.changes),
        )


CASES = {
    "resnet20, 32 px": Case(
        "digits/demo",
        ("model.name=resnet20", "data.image_px=32", "augment.crop=none", "augment.flip=true"),
        32,
    ),
    "resnet18, 96 px": Case(
        "digits/demo",
        ("model.name=resnet18", "data.image_px=96", "augment.crop=resized", "augment.flip=true"),
        128,
    ),
    "lite0, 128 px": Case(
        "finetune/full", ("data.image_px=128", "augment.crop=resized", "augment.flip=true"), 160
    ),
}


def make_pictures(folder: Path, count: int, side: int) -> None:
    """Write JPEG files of smooth noise, CLASS/number.jpg, for training and a few to validate."""
    draw = np.random.default_rng(0)
    for split, images in (("train", count), ("val", 20)):
        for index in range(images):
            place = folder / split / f"c{index % CLASSES}"
            place.mkdir(parents=True, exist_ok=True)
            rough = Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            rough.resize((side, side), Image.Resampling.BICUBIC).save(place / f"{index}.jpg")


def by_fit(recipe: Recipe) -> float:
    """Train one epoch; return the images a second that its record gives."""
    with tempfile.TemporaryDirectory() as folder:
        result = fit(recipe, Path(folder) / "run", progress=False)
    return result.epochs[-1].images_per_s


def by_steps(job: Job, batches: Callable[[], Iterable[tuple[Tensor, Tensor]]]) -> float:
    """Train one epoch over batches in a plain loop; return images a second."""
    model, recipe = deepcopy(job.model).train(), job.recipe
    layout = torch.channels_last if recipe.run.channels_last else torch.contiguous_format
    model = model.to(memory_format=layout)
    optimizer, _ = create_optimisation(recipe, len(job.data.train), model)
    half = recipe.run.dtype == "bfloat16"
    images, started = 0, time.perf_counter()
    for x, target in batches():
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = F.cross_entropy(model(x.contiguous(memory_format=layout)).float(), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        images += len(x)
    return images / (time.perf_counter() - started)


def timm_loader(job: Job, data: Path) -> Iterable[tuple[Tensor, Tensor]]:
    """Build timm's loader as its train.py does, on the CPU, with the recipe's augmentation."""
    recipe, windows = job.recipe, job.recipe.augment.crop == "resized"
    images = job.card.images
    assert images is not None
    loader: Iterable[tuple[Tensor, Tensor]] = create_loader(
        create_dataset("", root=str(data), split="train", is_training=True),
        input_size=images.input_size,
        batch_size=recipe.run.batch_size,
        is_training=True,
        scale=(0.08, 1.0) if windows else (1.0, 1.0),
        ratio=(3 / 4, 4 / 3) if windows else (1.0, 1.0),
        hflip=0.5,
        color_jitter=None,
        interpolation="bicubic",
        mean=images.mean,
        std=images.std,
        num_workers=recipe.data.workers,
        device=torch.device("cpu"),
    )
    return loader


def measure(case: Case, options: argparse.Namespace) -> dict[str, list[float]]:
    """Return the images a second of each way in each round."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        make_pictures(data, options.images, case.side)
        recipe = case.settings(data, options.batch, options.dtype)
        job = open_job(recipe)
        ready = list(job.data.train)
        loader = timm_loader(job, data)
        ways: dict[str, Way] = {
            "convgate": lambda: by_fit(recipe),
            "timm": lambda: by_steps(job, lambda: loader),
            "bare step": lambda: by_steps(job, lambda: ready),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(options.rounds + 1):  # the first warms up
            for name in random.Random(number).sample(list(ways), len(ways)):
                rate = ways[name]()
                if number:
                    found[name].append(rate)
    return found


def first_step(case: Case, options: argparse.Namespace) -> float:
    """Return the seconds from a new process to the end of an epoch of one step, as printed."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        make_pictures(data, options.batch, case.side)
        recipe = case.settings(data, options.batch, options.dtype)
        changed = [f"data.path={data}", f"model.name={recipe.model.name}", *case.changes]
        changed += ["data.name=folder", "data.val_share=0", f"run.batch_size={options.batch}"]
        changed += ["schedule.epochs=1", "schedule.warmup_epochs=0"]
        words = [word for change in changed for word in ("--set", change)]
        command = [sys.executable, "-m", "convgate", "train", case.recipe, *words]
        started = time.perf_counter()
        run = subprocess.Popen(
            [*command, "--out", str(Path(folder) / "run")], stderr=subprocess.PIPE, text=True
        )
        assert run.stderr is not None
        line = next((line for line in run.stderr if line.startswith("epoch 1/")), None)
        seconds = time.perf_counter() - started
        run.communicate()
    if line is None:
        raise SystemExit(f"{case.recipe}: the run ended without an epoch")
    return seconds


def main() -> None:
    """Measure, print, and write a CSV file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--images", type=int, default=2000, help="pictures of an epoch")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=list(CASES))
    parser.add_argument("--first-step", action="store_true", help="time the start alone")
    parser.add_argument("--out", type=Path, help="CSV file for the rows")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for name, case in CASES.items():
        if options.only not in (None, name):
            continue
        if options.first_step:
            print(f"{name}: {first_step(case, options):.1f} s to the end of the first step")
            continue
        found = measure(case, options)
        for way, rates in found.items():
            ratios = [a / b for a, b in zip(rates, found["bare step"], strict=True)]
            row = {"case": name, "way": way, "images_per_s": round(median(rates), 1)}
            spread = {"least": round(min(ratios), 3), "largest": round(max(ratios), 3)}
            rows.append({**row, "ratio": round(median(ratios), 3), **spread})
            print(*rows[-1].values(), sep="  ", flush=True)
    if options.out and rows:
        write_csv(options.out, rows)


if __name__ == "__main__":
    main()
