"""docs/results/adapters.md, from the runs of `benchmarks.adapters` alone.

python -m benchmarks.adapters_page
"""

from pathlib import Path

from benchmarks.record import read
from benchmarks.starts_page import ends, mean, table
from convgate.studies.statistics import paired_difference

NOTES = Path(__file__).parent / "adapters.md"
DOCS = Path(__file__).parent.parent / "docs" / "results"
FILES = DOCS / "adapters"
COSTS = "\n## What it costs"  # the last part of the page, once it has been measured
BASE = "full"  # what the other ways are compared with
Row = dict[str, str]


def top1(runs: list[Row], way: str, count: int) -> dict[int, float]:
    """Return the accuracy of every run of a way on so many pictures, by its seed."""
    own = [run for run in runs if (run["way"], run["pictures"]) == (way, str(count))]
    return {int(run["seed"]): float(run["top1"]) for run in own}


def compared(runs: list[Row], count: int) -> str:
    """Return the ways on so many pictures: accuracy, difference, numbers and bytes."""
    rows = []
    for way in dict.fromkeys(run["way"] for run in runs):
        own, base = top1(runs, way, count), top1(runs, BASE, count)
        one = next(run for run in runs if run["way"] == way)
        found = paired_difference(own, base) if way != BASE else None
        rows.append([
            way, f"{mean(own):.1f}", f"{found.mean:+z.1f} {ends(found)}" if found else "",
            f"{int(one['trained_params']):,}", f"{int(one['file_bytes']):,}",
        ])  # fmt: skip
    head = ["trained", "top-1, %", f"to {BASE} tuning, points", "parameters trained"]
    return table([*head, "bytes of a task"], rows)


def timed(times: list[Row]) -> str:
    """Return what an epoch takes and what the tuned network costs at inference."""
    rows = [
        [row["way"], f"{float(row['epoch_s']):.1f}", f"{float(row['latency_ratio']):.3f} "
         f"[{float(row['ratio_low']):.3f}, {float(row['ratio_high']):.3f}]"]
        for row in times
    ]  # fmt: skip
    return table(["trained", "seconds of an epoch", "latency over the plain network's"], rows)


def page() -> str:
    """Return the page: what was run, tables, and what follows."""
    runs, times = read(FILES / "runs.csv"), read(FILES / "times.csv")
    counts = sorted({int(run["pictures"]) for run in runs})
    parts = [f"### {count:,} photographs\n\n{compared(runs, count)}" for count in counts]
    text = NOTES.read_text().replace("{ACCURACY}", "\n\n".join(parts))
    return text.replace("{TIMES}", timed(times)) if times else text.split(COSTS)[0]


def main() -> None:
    """Write the page."""
    (DOCS / "adapters.md").write_text(page())


if __name__ == "__main__":
    main()
