"""The tables of a report as plain text cells, for the terminal, Markdown and HTML alike."""

from dataclasses import dataclass
from typing import Any

from convgate.studies.notation import ABSENT, count, duration, interval, ratio_interval, spread
from convgate.studies.result import StudyResult, run_table
from convgate.studies.summary import Row


@dataclass(frozen=True)
class Table:
    """Cells of text; the first column is a name and the others are numbers.

    Args:
        head: Column titles.
        body: Rows; a newline in a cell parts a number from its interval.
        marked: Indices of the rows on the Pareto front.
    """

    head: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]
    marked: tuple[int, ...] = ()


HEAD = (
    "gate",
    "top-1, %",
    "difference, points",
    "shown",
    "latency, ms",
    "latency ratio",
    "within budget",
    "params",
    "MACs",
    "element-wise",
    "bytes moved",
    "distance",
)


def variant_table(result: StudyResult) -> Table:
    """One row for each variant: accuracy, paired difference, latency ratio, cost, distance."""
    body = tuple(_variant(row, result.budget) for row in result.rows)
    return Table(HEAD, body, tuple(i for i, row in enumerate(result.rows) if row.on_front))


def short_table(result: StudyResult) -> Table:
    """The same in the columns that 80 characters hold."""
    full = variant_table(result)
    keep = [0, 1, 2, 5, 7, 8, 11]
    head = ("gate", "top-1, %", "difference", "latency ratio", "params", "MACs", "dist.")
    body = (tuple(row[i].replace(" ± ", "\n± ") for i in keep) for row in full.body)
    return Table(head, tuple(body), full.marked)


def run_cells(result: StudyResult) -> Table:
    """One row for each run."""
    head = ("gate", "seed", "top-1, %", "difference", "val loss", "distance", "time", "note")
    labels = {row.variant: row.label for row in result.rows}
    runs = zip(result.records, run_table(result), strict=True)
    body = tuple((labels[record.cell.variant], *_run(run)) for record, run in runs)
    return Table(head, body)


def _variant(row: Row, budget: float) -> tuple[str, ...]:
    return (row.label, spread(row.mean, row.std), *_difference(row), *_cost(row, budget))


def _difference(row: Row) -> tuple[str, str]:
    if row.variant.is_base:
        return "base", ""
    if row.difference is None:
        return ABSENT, ABSENT
    number = f"{row.difference.mean:+z.2f}"
    return f"{number}\n{interval(row.difference).strip()}".strip(), row.difference.verdict


def _cost(row: Row, budget: float) -> tuple[str, ...]:
    facts = row.facts
    if facts is None:
        return (ABSENT,) * 8
    base = row.variant.is_base
    return (
        f"{facts.median_ms:.3g}",
        "1" if base else f"{facts.ratio:.3f}\n{ratio_interval(facts)}",
        "" if base else "yes" if row.fits(budget) else "no",
        count(facts.params),
        count(facts.macs),
        count(facts.elementwise_ops),
        count(facts.bytes_moved),
        ABSENT if row.distance is None else f"{row.distance:.4f}",
    )


def _run(run: dict[str, Any]) -> tuple[str, ...]:
    def shown(key: str, form: str) -> str:
        return ABSENT if run[key] is None else format(run[key], form)

    return (
        str(run["seed"]),
        shown("top1", ".2f"),
        "" if run["gate"] == "none" else shown("difference", "+z.2f"),
        shown("val_loss", ".4f"),
        shown("distance", ".4f"),
        ABSENT if run["seconds"] is None else duration(run["seconds"]),
        run["note"],
    )
