"""Results of the benchmarks as CSV: a line for each network of a comparison, or for each run."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from convgate.measure import LatencyReport

RESULTS = Path(__file__).parent / "results"
KEPT = ("device", "cpu", "torch", "python", "system", "threads", "git_commit", "command")
ROW = ("name", "median_ms", "q05_ms", "q95_ms", "ratio", "ratio_low", "ratio_high", "samples")


def rows_of(
    engine: str, dtype: str, parts: int, report: LatencyReport
) -> Iterable[dict[str, object]]:
    """Yield a line for each network of a comparison, and where and how it was made."""
    where = {key: report.environment[key] for key in KEPT}
    for row in report.rows:
        yield {
            "engine": engine,
            "dtype": dtype,
            "parts": parts,
            "batch": report.batch,
            **{key: getattr(row, key) for key in ROW},
            "reliable": report.reliable,
            **where,
        }


def read(path: Path) -> list[dict[str, str]]:
    """Return the lines of a file; none where there is none yet."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def append(path: Path, line: Mapping[str, object]) -> None:
    """Add a line, with the head before the first one, and print it."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(line), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(line)
    print(*line.values(), flush=True)
