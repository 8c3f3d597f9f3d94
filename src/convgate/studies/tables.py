"""The tables of a report, and how numbers read in them: in a sentence, a cell, a figure."""

from collections.abc import Mapping, Sequence
from typing import Any

from convgate.studies.measurement import VariantCost
from convgate.studies.statistics import Difference, VariantRow
from convgate.tables import Table

ABSENT = "-"
HEAD = (
    "gate", "top-1, %", "difference, points", "shown", "latency, ms", "latency ratio",
    "within budget", "params", "MACs", "element-wise", "bytes moved", "distance",
    "gates moved, %",
)  # fmt: skip


def variant_table(rows: Sequence[VariantRow], budget: float) -> Table:
    """One row for each variant: accuracy, paired difference, latency ratio, cost, distance."""
    return Table(HEAD, [_variant(row, budget) for row in rows], _aligned(HEAD))


def short_table(rows: Sequence[VariantRow], budget: float) -> Table:
    """The same in the columns that 80 characters hold."""
    keep = [0, 1, 2, 5, 7, 8, 11]
    head = ("gate", "top-1, %", "difference", "latency ratio", "params", "MACs", "dist.")
    full = variant_table(rows, budget).rows
    body = [tuple(row[i].replace(" ± ", "\n± ") for i in keep) for row in full]
    return Table(head, body, _aligned(head))


def run_cells(runs: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> Table:
    """One row for each run, named by its variant's label."""
    head = (
        "gate", "seed", "top-1, %", "difference", "val loss", "distance", "moved, %", "time",
        "note",
    )  # fmt: skip
    body = [(label, *_run(run)) for label, run in zip(labels, runs, strict=True)]
    return Table(head, body, _aligned(head))


def _aligned(head: Sequence[str]) -> str:
    return "l" + "r" * (len(head) - 1)


def _variant(row: VariantRow, budget: float) -> tuple[str, ...]:
    return (row.label, spread(row.mean, row.std), *_difference(row), *_cost(row, budget))


def _difference(row: VariantRow) -> tuple[str, str]:
    if row.variant.is_base:
        return "base", ""
    if row.difference is None:
        return ABSENT, ABSENT
    number = f"{row.difference.mean:+z.2f}"
    return f"{number}\n{interval(row.difference).strip()}".strip(), row.difference.verdict


def _cost(row: VariantRow, budget: float) -> tuple[str, ...]:
    cost = row.cost
    if cost is None:
        return (ABSENT,) * 8 + (_percent(row.moved),)
    base = row.variant.is_base
    return (
        f"{cost.paired_ms:.3g}",
        "1" if base else f"{cost.ratio:.3f}\n{ratio_interval(cost)}",
        "" if base else "yes" if row.fits(budget) else "no",
        count(cost.params),
        count(cost.macs),
        count(cost.elementwise_ops),
        count(cost.bytes_moved),
        ABSENT if row.distance is None else f"{row.distance:.4f}",
        _percent(row.moved),
    )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"


def _run(run: Mapping[str, Any]) -> tuple[str, ...]:
    def shown(key: str, form: str) -> str:
        return ABSENT if run[key] is None else format(run[key], form)

    return (
        str(run["seed"]),
        shown("top1", ".2f"),
        "" if run["gate"] == "none" else shown("difference", "+z.2f"),
        shown("val_loss", ".4f"),
        shown("distance", ".4f"),
        _percent(run["moved"]),
        ABSENT if run["seconds"] is None else duration(run["seconds"]),
        run["note"],
    )


def points(difference: Difference) -> str:
    """Return e.g. "+0.42 points [+0.10, +0.74]"; without an interval where there is none."""
    return f"{difference.mean:+z.2f} points {interval(difference)}".strip()


def interval(difference: Difference) -> str:
    """Return e.g. "[+0.10, +0.74]", or nothing."""
    if difference.low is None or difference.high is None:
        return ""
    return f"[{difference.low:+z.2f}, {difference.high:+z.2f}]"


def ratio(cost: VariantCost) -> str:
    """Return e.g. "1.042x [1.031, 1.053]"."""
    return f"{cost.ratio:.3f}x {ratio_interval(cost)}"


def ratio_interval(cost: VariantCost) -> str:
    """Return e.g. "[1.031, 1.053]"."""
    return f"[{cost.ratio_low:.3f}, {cost.ratio_high:.3f}]"


def spread(mean: float | None, std: float | None, digits: int = 2) -> str:
    """Return e.g. "71.30 ± 0.42"."""
    if mean is None:
        return ABSENT
    return f"{mean:.{digits}f}" if std is None else f"{mean:.{digits}f} ± {std:.{digits}f}"


def count(number: int) -> str:
    """Return a count in three figures: "35.1 M", "271 k", "640"."""
    for size, prefix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= 0.9995 * size:
            figures = 2 - (number >= 9.995 * size) - (number >= 99.95 * size)
            return f"{number / size:.{figures}f}{prefix}"
    return str(number)


def duration(seconds: float) -> str:
    """Return e.g. "48 s", "12 min", "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
