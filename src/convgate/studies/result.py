"""The outcome of a study: its answer, as far as the numbers say, and the files that hold it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from convgate import spec
from convgate.insertion import MIN_MOVEMENT
from convgate.measure import environment
from convgate.storage import write_csv, write_text
from convgate.studies.grid import unique
from convgate.studies.measurement import Measurements
from convgate.studies.statistics import Difference, VariantRow, mean_moved, summarise
from convgate.studies.tables import points, ratio, short_table
from convgate.studies.trials import CellRecord
from convgate.tables import Readable, Table
from convgate.train.recipe import Recipe

CHOICE = "the base is the choice"
SUMMARY = "summary.json"
RESULTS = "results.csv"


@dataclass(frozen=True, repr=False)
class StudyResult(Readable):
    """A finished study; it prints as its table and its answer."""

    out: Path  # its folder
    recipe: Recipe  # what all its runs share
    rows: tuple[VariantRow, ...]  # one for each variant, the base of each backbone first
    records: tuple[CellRecord, ...]  # one for each cell
    measured: Measurements  # cost, latency, distance, and how they were taken
    budget: float  # the latency a gate may cost, as a multiple of the base's
    command: str  # what was typed

    @property
    def answer(self) -> str:
        """Which gate to take, in one line; it ends with what makes the latency doubtful."""
        doubts = [
            f"{taken['base']}: {reason}" if len(self.latency) > 1 else reason
            for taken in self.latency.values()
            for reason in (w.removeprefix("unreliable: ") for w in taken.get("warnings", []))
            if not taken.get("reliable", True)
        ]
        line = answer_of(self.rows, self.budget) + idle_gates(self.rows)
        return f"{line} The latency is not reliable: {'; '.join(doubts)}." if doubts else line

    @property
    def latency(self) -> dict[str, dict[str, Any]]:
        return {k: v for k, v in self.measured.conditions.items() if isinstance(v, dict) and v}

    def table(self) -> Table:
        return replace(short_table(self.rows, self.budget), notes=("", self.answer))

    def to_dict(self) -> dict[str, Any]:
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
    records: Sequence[CellRecord],
    measured: Measurements,
    budget: float,
) -> StudyResult:
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


def _run(
    record: CellRecord, row: VariantRow, rows: dict[Any, VariantRow], measured: Measurements
) -> dict[str, Any]:
    base = next((r for v, r in rows.items() if v.is_base and v.group == row.variant.group), None)
    beside = base.top1.get(record.cell.seed) if base else None
    paired = None if record.top1 is None or beside is None else record.top1 - beside
    last = record.outcome["epochs"][-1] if record.outcome.get("epochs") else {}
    cost = row.cost
    return record.cell.to_dict() | {
        "state": record.state,
        "top1": record.top1,
        "difference": None if row.variant.is_base else paired,
        "val_loss": last.get("val_loss"),
        "train_loss": last.get("train_loss"),
        "epochs": len(record.outcome.get("epochs", [])),
        "distance": measured.distances.get(record.cell),
        "moved": mean_moved(record),
        "params": cost and cost.params,
        "macs": cost and cost.macs,
        "elementwise_ops": cost and cost.elementwise_ops,
        "bytes_moved": cost and cost.bytes_moved,
        "median_ms": cost and cost.median_ms,
        "ratio": cost and cost.ratio,
        "ratio_low": cost and cost.ratio_low,
        "ratio_high": cost and cost.ratio_high,
        "seconds": record.outcome.get("seconds"),
        "note": record.note,
    }


def write_tables(result: StudyResult, stamp: int) -> None:
    """Write results.csv and, last, summary.json, whose stamp says what the report covers."""
    write_csv(result.out / RESULTS, run_table(result))
    summary = {"stamp": stamp} | result.to_dict()
    write_text(result.out / SUMMARY, json.dumps(summary, indent=1, default=str) + "\n")


def is_fresh(folder: Path, stamp: int) -> bool:
    """Tell whether the folder's report covers the study as it stands."""
    try:
        stored = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return isinstance(stored, dict) and stored.get("stamp") == stamp


def answer_of(rows: Sequence[VariantRow], budget: float) -> str:
    """Return the answer for each backbone, in one line.

    A gate counts as within the budget if the whole interval of its latency ratio does, and as
    a gain if the whole interval of its paired difference lies above zero.
    """
    groups = unique([row.variant.group for row in rows])
    parts = [_answer([r for r in rows if r.variant.group == group], budget) for group in groups]
    if len(groups) == 1:
        return parts[0]
    return " ".join(f"{group}: {part}" for group, part in zip(groups, parts, strict=True))


def idle_gates(rows: Sequence[VariantRow]) -> str:
    """Say which gates stayed the identity, so that their row is the base trained again."""
    idle = [row.label for row in rows if row.moved is not None and row.moved < MIN_MOVEMENT]
    if not idle:
        return ""
    return (
        f" The gates did not act (they change their input by less than {100 * MIN_MOVEMENT:.2g} %):"
        f" {', '.join(idle)}; raise their rate (optimizer.lr_scale.gates) or train longer."
    )


def _answer(rows: Sequence[VariantRow], budget: float) -> str:
    if not rows[0].variant.is_base or rows[0].mean is None:
        return "No answer: the base has no finished run to compare with."
    candidates = [row for row in rows if row.difference and row.cost]
    if not candidates:
        return "No answer: no gate has a finished run beside the base's."
    within = [row for row in candidates if row.fits(budget)]
    chosen = max(_gains(within) or within, key=_mean) if within else _nearest(candidates)
    above = [row for row in _gains(candidates) if row not in within]
    best = max(candidates, key=_mean)
    parts = [_inside(chosen, within, budget) if within else _nothing_fits(chosen, budget)]
    if above:
        parts.append(f"Above the budget, {_described(max(above, key=_mean))} shows a gain.")
    if within and best is not chosen and best not in above:
        parts.append(_why_not(best, budget))
    return " ".join(parts)


def _inside(chosen: VariantRow, within: Sequence[VariantRow], budget: float) -> str:
    verdicts = {_difference(row).verdict for row in within}
    bound = f"within {budget:.2f}x of the base's latency"
    if "higher" in verdicts:
        return f"{bound.capitalize()}: {_described(chosen)}."
    if verdicts == {"no interval"}:
        return (
            f"No interval from one seed: {bound} the best mean is {_described(chosen)}; train at"
            " least three seeds before choosing."
        )
    word = "a gain" if "lower" in verdicts else "a difference"
    return (
        f"No gate {bound} shows {word} beyond its interval; {CHOICE}."
        f" Best mean: {_described(chosen)}."
    )


def _nothing_fits(nearest: VariantRow, budget: float) -> str:
    return (
        f"No gate lies within {budget:.2f}x of the base's latency; {CHOICE}."
        f" Nearest: {_described(nearest)}."
    )


def _nearest(rows: Sequence[VariantRow]) -> VariantRow:
    return min(rows, key=lambda row: row.cost.ratio_high if row.cost else float("inf"))


def _why_not(best: VariantRow, budget: float) -> str:
    """Say why the gate with the best mean of all is not the one to take."""
    reasons = []
    if not best.fits(budget):
        reasons.append(f"its latency interval reaches beyond {budget:.2f}x")
    if not _difference(best).shown:
        reasons.append("its difference may be chance")
    reason = " and ".join(reasons)
    return f"The best mean of all, {_described(best)}, is not the choice: {reason}."


def _gains(rows: Sequence[VariantRow]) -> list[VariantRow]:
    return [row for row in rows if _difference(row).verdict == "higher"]


def _difference(row: VariantRow) -> Difference:
    assert row.difference is not None
    return row.difference


def _mean(row: VariantRow) -> float:
    return _difference(row).mean


def _described(row: VariantRow) -> str:
    assert row.cost is not None
    return f"{row.label_in_group} ({points(_difference(row))}, {ratio(row.cost)})"
