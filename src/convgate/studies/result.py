"""The outcome of a study, and the files that hold it."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convgate import spec
from convgate.measure import environment
from convgate.storage import write_text
from convgate.studies.answer import answer
from convgate.studies.measurements import Measurements
from convgate.studies.summary import Row, summarise
from convgate.studies.trial_records import Record
from convgate.train.recipe import Recipe

SUMMARY = "summary.json"
RESULTS = "results.csv"


@dataclass(frozen=True)
class StudyResult:
    """A finished study.

    Args:
        out: Its folder.
        recipe: What all its runs share.
        rows: One for each variant, the base of each backbone first.
        records: One for each cell.
        measured: Cost, latency, distance, and how they were taken.
        budget: The latency a gate may cost, as a multiple of the base's.
        command: What was typed.
    """

    out: Path
    recipe: Recipe
    rows: tuple[Row, ...]
    records: tuple[Record, ...]
    measured: Measurements
    budget: float
    command: str

    @property
    def answer(self) -> str:
        """Which gate to take, in one line; it ends with what makes the latency doubtful."""
        doubts = [
            f"{told['base']}: {warning}" if len(self.latency) > 1 else warning
            for told in self.latency.values()
            for warning in told.get("warnings", [])
            if not told.get("reliable", True)
        ]
        line = answer(self.rows, self.budget)
        return f"{line} Latency is {'; '.join(doubts)}." if doubts else line

    @property
    def latency(self) -> dict[str, dict[str, Any]]:
        """How the latency was taken, by backbone."""
        return {k: v for k, v in self.measured.conditions.items() if isinstance(v, dict) and v}

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in plain JSON types, curves aside."""
        return {
            "answer": self.answer,
            "budget": self.budget,
            "rows": [row.to_dict() for row in self.rows],
            "runs": run_table(self),
            "conditions": dict(self.measured.conditions),
            "environment": dict(self.measured.environment),
            "recipe": spec.to_table(self.recipe),
            "command": self.command,
        }


def conclude(
    folder: Path,
    recipe: Recipe,
    records: Sequence[Record],
    measured: Measurements,
    budget: float,
) -> StudyResult:
    """Put trials and measurements together."""
    rows = tuple(summarise(records, measured))
    order = {row.variant: i for i, row in enumerate(rows)}
    ordered = sorted(records, key=lambda r: (order[r.cell.variant], r.cell.seed))
    command = environment()["command"]
    return StudyResult(folder, recipe, rows, tuple(ordered), measured, budget, command)


def run_table(result: StudyResult) -> list[dict[str, Any]]:
    """Return one row for each cell: accuracy first, then what was measured."""
    rows = {row.variant: row for row in result.rows}
    return [
        _run(record, rows[record.cell.variant], rows, result.measured) for record in result.records
    ]


def _run(record: Record, row: Row, rows: dict[Any, Row], measured: Measurements) -> dict[str, Any]:
    base = next((r for v, r in rows.items() if v.is_base and v.group == row.variant.group), None)
    beside = base.top1.get(record.cell.seed) if base else None
    paired = None if record.top1 is None or beside is None else record.top1 - beside
    last = record.outcome["epochs"][-1] if record.outcome.get("epochs") else {}
    facts = row.facts
    return record.cell.to_dict() | {
        "state": record.state,
        "top1": record.top1,
        "difference": None if row.variant.is_base else paired,
        "val_loss": last.get("val_loss"),
        "train_loss": last.get("train_loss"),
        "epochs": len(record.outcome.get("epochs", [])),
        "distance": measured.distances.get(record.cell),
        "params": facts and facts.params,
        "macs": facts and facts.macs,
        "elementwise_ops": facts and facts.elementwise_ops,
        "bytes_moved": facts and facts.bytes_moved,
        "median_ms": facts and facts.median_ms,
        "ratio": facts and facts.ratio,
        "ratio_low": facts and facts.ratio_low,
        "ratio_high": facts and facts.ratio_high,
        "seconds": record.outcome.get("seconds"),
        "note": record.note,
    }


def write_tables(result: StudyResult, stamp: int) -> None:
    """Write results.csv and, last, summary.json, whose stamp says what the report covers."""
    table = run_table(result)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    write_text(result.out / RESULTS, text.getvalue())
    summary = {"stamp": stamp} | result.to_dict()
    write_text(result.out / SUMMARY, json.dumps(summary, indent=1, default=str) + "\n")


def is_fresh(folder: Path, stamp: int) -> bool:
    """Tell whether the folder's report covers the study as it stands."""
    try:
        stored = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return isinstance(stored, dict) and stored.get("stamp") == stamp
