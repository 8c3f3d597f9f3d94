"""A detector on a pretrained backbone, with and without gates; one line of CSV a run.

    python -m benchmarks.detectors PennFudanPed.zip --runs runs
    python -m benchmarks.detectors --page

Each run is `convgate train RECIPE --set schedule.epochs=N --set run.seed=S`, with or without
`--gate GATE`; its folder stays under --runs, so that a stopped command continues. The CSV holds the
scores of the last epoch. --page writes the page from it.
"""

import argparse
import sys
from itertools import product
from pathlib import Path

import torch

from benchmarks.record import append, read
from benchmarks.starts_page import ends, mean, table
from convgate.studies.statistics import paired_difference
from convgate.train.fit import fit
from convgate.train.recipe import chosen, load_recipe, override

NOTES = Path(__file__).parent / "detectors.md"
DOCS = Path(__file__).parent.parent / "docs" / "results"
RUNS = DOCS / "pretrained_detector" / "runs.csv"
SCORES = ("box_ap", "box_ap50", "box_ap75")
GATES = {"none": (), "se": (), "ela": ("gate.options.num_groups=8",)}
Row = dict[str, str]


def run(options: argparse.Namespace, gate: str, seed: int) -> dict[str, object]:
    """Train one network, or read what its folder holds, and return its columns."""
    length = f"schedule.epochs={options.epochs}", f"run.seed={seed}"
    recipe = chosen(load_recipe(options.recipe), data=options.data, gate=gate)
    recipe = override(recipe, *GATES[gate], *length)
    result = fit(recipe, options.runs / f"{gate}-{seed}")
    return {
        "gate": gate, "seed": seed, "recipe": options.recipe, "epochs": options.epochs,
        "train_images": result.train_images, "val_images": result.val_images,
        "params": result.params, **{score: result.scores[score] for score in SCORES},
        "moved": sum(result.moved.values()) / len(result.moved) if result.moved else "",
    }  # fmt: skip


def column(runs: list[Row], gate: str, key: str) -> dict[int, float]:
    """Return one number of every run of a gate by its seed."""
    return {int(run["seed"]): float(run[key]) for run in runs if run["gate"] == gate}


def compared(runs: list[Row]) -> str:
    """Return the gates beside the plain detector: scores, difference, movement, size."""
    rows = []
    for gate in dict.fromkeys(run["gate"] for run in runs):
        own, base = (column(runs, name, SCORES[0]) for name in (gate, "none"))
        found = paired_difference(own, base) if gate != "none" else None
        moved = f"{100 * mean(column(runs, gate, 'moved')):.2f}" if gate != "none" else ""
        rows.append([
            gate, *(f"{mean(column(runs, gate, score)):.1f}" for score in SCORES),
            f"{found.mean:+z.1f} {ends(found)}" if found else "", moved, str(len(own)),
            next(f"{int(run['params']):,}" for run in runs if run["gate"] == gate),
        ])  # fmt: skip
    head = ["gate", "box AP, %", "AP50", "AP75", "AP to plain, points", "gates moved, %"]
    return table([*head, "seeds", "parameters"], rows)


def main() -> None:
    """Run what the file does not hold, or write the page."""
    options = arguments()
    if options.page:
        (DOCS / "pretrained_detector.md").write_text(
            NOTES.read_text().replace("{SCORES}", compared(read(options.out)))
        )
        return
    if options.data is None:
        sys.exit("benchmarks.detectors: name the data, or give --page")
    torch.set_num_threads(1)
    done = {(line["gate"], line["seed"]) for line in read(options.out)}
    for seed, gate in product(range(options.seeds), options.gates):
        if (gate, str(seed)) not in done:
            append(options.out, run(options, gate, seed))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", help="Penn-Fudan, as the recipes take it")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--out", type=Path, default=RUNS, help="the CSV")
    parser.add_argument("--recipe", default="pennfudan/retinanet_lite0")
    parser.add_argument("--gates", nargs="+", default=["none", "se"], choices=GATES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--page", action="store_true", help="write the page alone")
    return parser.parse_args()


if __name__ == "__main__":
    main()
