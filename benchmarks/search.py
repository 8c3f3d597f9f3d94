"""How well cheap scores rank combinations of gates, against a space that is trained whole.

    python -m benchmarks.search truth cifar10.zip --out search
    python -m benchmarks.search paths cifar10.zip --out search
    python -m benchmarks.search short cifar10.zip --out search
    python -m benchmarks.search_page search

`truth` trains every combination of a stage's gates in full, as a study's cells: any number of
processes share them, and a stopped one continues. `paths` and `short` score all combinations by
the two rankings of `convgate.searches.ranking`, on pictures held out of the training split, with
several seeds. `search_page` prints the tables of docs/results/search.md.
"""

import argparse
import contextlib
import itertools
import random
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.record import append, read
from convgate.gates import GATES
from convgate.searches.finalists import Finalists
from convgate.searches.ranking import PathRanking, ShortRanking, search_recipe
from convgate.searches.space import Combination, Space, make_space
from convgate.storage import write_csv
from convgate.studies.grid import fingerprint, make_cells
from convgate.studies.loop import Progress, train_cells
from convgate.studies.trials import Trials
from convgate.train.fit import fit
from convgate.train.recipe import Recipe, chosen, load_recipe

HERE = Path(__file__).parents[1] / "docs/results/search"
GATE_NAMES = ("eca", "gct", "seln")
OPTIONS = {"reduction": 4}
HELD_OUT = 0.2


def recipe_of(data: Path) -> Recipe:
    return chosen(load_recipe(HERE / "recipe.toml"), data=data)


def space_of(recipe: Recipe) -> Space:
    return make_space(recipe, GATE_NAMES, at="block_end", start="paper", options=OPTIONS)


def everything(space: Space) -> list[Combination]:
    """Return all combinations in a fixed random order, so that any first part is a fair sample."""
    every = list(itertools.product(*space.choices.values()))
    random.Random(0).shuffle(every)
    return every


def train_all(options: argparse.Namespace) -> None:
    """Train every combination with every seed, or what is left of that; write what came out."""
    recipe = recipe_of(options.data)
    space = space_of(recipe)
    gated = [c for c in everything(space) if c != space.plain]
    preset = Finalists(space, gated, recipe)
    networks = preset.networks(recipe)
    lines = Progress(None)
    with contextlib.closing(Trials(options.out / "truth", None, lines.say)) as trials:
        trials.plan(make_cells(networks, options.seeds), fingerprint(recipe), networks)
        with contextlib.suppress(KeyboardInterrupt):  # what is done by then is written
            train_cells(trials, recipe, fit, lines)
        done = [record for record in trials.records() if record.top1 is not None]
    rows = [
        {
            "gates": record.cell.variant.name or "none",
            "seed": record.cell.seed,
            "top1": record.top1,
            "val_loss": record.outcome["epochs"][-1]["val_loss"],
            "seconds": record.outcome["seconds"],
        }
        for record in done
    ]
    write_csv(options.out / "truth.csv", rows)


def score_all(options: argparse.Namespace) -> None:
    """Score every combination by one of the rankings, seed by seed; append what is missing."""
    recipe = recipe_of(options.data)
    space, path = space_of(recipe), options.out / f"{options.command}.csv"
    options.out.mkdir(parents=True, exist_ok=True)
    known = {(row["gates"], int(row["seed"])) for row in read(path)}
    for seed in range(options.seeds):
        left = [c for c in everything(space) if (space.label(c), seed) not in known]
        if not left:
            continue
        began = time.process_time()
        score = ranking(options, recipe, space, seed)
        before = time.process_time() - began
        for combination in left:
            began = time.process_time()
            top1 = score(combination)
            row = {
                "gates": space.label(combination),
                "seed": seed,
                "top1": top1,
                "val_loss": score.scores["val_loss"],
                "cpu_s": time.process_time() - began,
                "before_cpu_s": before,
            }
            append(path, row)


def ranking(
    options: argparse.Namespace, recipe: Recipe, space: Space, seed: int
) -> PathRanking | ShortRanking:
    own = replace(recipe, run=replace(recipe.run, seed=seed))
    own = search_recipe(own, HELD_OUT)
    folder = options.out / f"{options.command}{seed}"
    if options.command == "short":
        return ShortRanking(own, space, folder, epochs=options.epochs)
    epochs = replace(own.schedule, epochs=options.epochs)
    return PathRanking(replace(own, schedule=epochs), space, folder)


def main() -> None:
    """Run one of the commands."""
    torch.set_num_threads(1)
    GATES.load("convgate.searches.paths:Paths")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, epochs, seeds in (("truth", 0, 2), ("paths", 8, 3), ("short", 2, 3)):
        command = commands.add_parser(name)
        command.add_argument("data", type=Path)
        command.add_argument("--out", type=Path, required=True)
        command.add_argument("--seeds", type=int, default=seeds)
        command.add_argument("--epochs", type=int, default=epochs)
    options = parser.parse_args()
    (train_all if options.command == "truth" else score_all)(options)


if __name__ == "__main__":
    main()
