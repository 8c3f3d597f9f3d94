"""Results of the benchmarks as CSV: a line for each network of a comparison."""

import csv
from collections.abc import Iterable
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


def write(path: Path, lines: list[dict[str, object]]) -> None:
    """Write the results of a subject."""
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
