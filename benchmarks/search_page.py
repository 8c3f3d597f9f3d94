"""Compare cheap rankings of combinations with their trainings in full, and write the page.

python -m benchmarks.search_page docs/results/search
"""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from scipy.stats import kendalltau

from benchmarks.record import read

TRAIN, VAL, HELD, EPOCHS, PICTURES = 2500, 2000, 500, 8, 1024
FORWARD = 1 / 3
"""Cost of a picture that is only looked at, over that of one that is trained on."""
RUN = EPOCHS * (TRAIN + FORWARD * VAL)
Scores = dict[str, float]


def column(path: Path, key: str) -> dict[int, Scores]:
    """Return one column of a file: seed -> combination -> value."""
    found: dict[int, Scores] = {}
    for row in read(path):
        found.setdefault(int(row["seed"]), {})[row["gates"]] = float(row[key])
    return found


def tau(scores: Scores, truth: Scores) -> str:
    """Return Kendall's tau over what both have, and of how many."""
    both = sorted(scores.keys() & truth.keys())
    if len(both) < 3:
        return "-"
    found = kendalltau([scores[k] for k in both], [truth[k] for k in both])
    return f"{found.statistic:+.2f} (p = {found.pvalue:.2g}, n = {len(both)})"


def path_cost(combinations: int) -> float:
    """Return what training and asking the network of paths costs, in trainings in full."""
    training = EPOCHS * (TRAIN - HELD + FORWARD * HELD)
    asking = combinations * FORWARD * (PICTURES + HELD)
    return (training + asking) / RUN


def short_cost(combinations: int, epochs: int) -> float:
    return combinations * epochs * (TRAIN - HELD + FORWARD * HELD) / RUN


def best_of_random(values: Sequence[float], count: int) -> float:
    """Return the expected best of ``count`` values drawn without putting back."""
    ordered, total = sorted(values), math.comb(len(values), count)
    return sum(math.comb(i, count - 1) * v for i, v in enumerate(ordered)) / total


def first(scores: Scores, count: int) -> list[str]:
    return sorted(scores, key=lambda gates: -scores[gates])[:count]


def mean_of(by_seed: Mapping[int, Scores]) -> Scores:
    """Return the mean over the seeds that have all combinations."""
    whole = max(len(scores) for scores in by_seed.values())
    full = [scores for scores in by_seed.values() if len(scores) == whole]
    return {gates: fmean(scores[gates] for scores in full) for gates in full[0]}


def ranking_rows(
    truth: Scores, name: str, top1: Mapping[int, Scores], loss: Mapping[int, Scores]
) -> list[str]:
    """Return a line for each seed of a ranking: how it agrees with the trainings in full."""
    return [
        f"| {name} | {seed} | {tau(top1[seed], truth)} | {tau(negative(loss[seed]), truth)} |"
        for seed in sorted(top1)
    ]


def negative(losses: Scores) -> Scores:
    return {gates: -loss for gates, loss in losses.items()}


def pick_rows(truth: Scores, losses: Mapping[int, Scores]) -> list[str]:
    """Return what is found at a share of the cost of the whole space, by chance and by paths."""
    runs, rows = path_cost(len(truth)), []
    for share in (0.05, 0.10):
        total = round(share * len(truth))
        left = max(1, round(share * len(truth) - runs))
        chance = best_of_random(list(truth.values()), total)
        found = [
            max(truth[gates] for gates in first(negative(each), left)) for each in losses.values()
        ]
        shown = ", ".join(f"{top1:.2f}" for top1 in found)
        rows.append(f"| {share:.0%} | {total} | {chance:.2f} | {left} | {shown} |")
    return rows


def main() -> None:
    """Print the tables of the page."""
    folder = Path(sys.argv[1])
    truth = mean_of(column(folder / "truth.csv", "top1"))
    paths, losses = (column(folder / "paths.csv", key) for key in ("top1", "val_loss"))
    short, short_losses = (column(folder / "short.csv", key) for key in ("top1", "val_loss"))
    print("| scores by | seed | tau of top-1 | tau of the loss |\n| --- | ---: | ---: | ---: |")
    print("\n".join(ranking_rows(truth, "paths", paths, losses)))
    print("\n".join(ranking_rows(truth, "2 epochs", short, short_losses)))
    size = len(truth)
    for name, runs in (("paths", path_cost(size)), ("2 epochs", short_cost(size, 2))):
        print(f"\n{name}: {runs:.1f} trainings, {runs / size:.1%} of the space")
    print("\n| share | trained | best of random | trained | best of the paths' first |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    print("\n".join(pick_rows(truth, losses)))
    best = first(truth, 1)[0]
    print(f"\nplain {truth['none']:.2f}, mean {fmean(truth.values()):.2f}", end=", ")
    print(f"best {truth[best]:.2f} ({best}), worst {min(truth.values()):.2f}")
    print("everywhere:", {g: round(v, 2) for g, v in truth.items() if g.isalpha()})


if __name__ == "__main__":
    main()
