"""What accuracies are drawn over: the panels of a table's picture, and each row's place."""

from dataclasses import dataclass

from convgate.errors import InputError
from convgate.papers.digits import number
from convgate.papers.result import TableResult
from convgate.papers.run import count_row, is_buildable
from convgate.papers.table import PaperTable


@dataclass(frozen=True)
class Panel:
    """One axis: its title with the unit, and the value of each row by name."""

    title: str
    values: dict[str, float]


def panels_of(table: PaperTable, result: TableResult) -> list[Panel]:
    """Return the panels that have values: parameters, FLOPs, and latency.

    Raises:
        InputError: if no row names a network, so that there is nothing to draw over.
    """
    counts = {
        row.name: count_row(table, row)
        for row in map(table.find, [shown.name for shown in result.rows])
        if is_buildable(row)
    }
    unit, size = ("G", 1e9) if any(c.flops >= 1e9 for c in counts.values()) else ("M", 1e6)
    panels = [
        Panel("parameters, M", {name: c.params / 1e6 for name, c in counts.items()}),
        Panel(f"FLOPs, {unit}", {name: c.flops / size for name, c in counts.items()}),
        _timed(result) if result.latency else _printed(result),
    ]
    drawn = [panel for panel in panels if panel.values]
    if not drawn:
        raise InputError(f"no chosen row of {result.name} names a network to count or time")
    return drawn


def _timed(result: TableResult) -> Panel:
    """Return the ratio to the base, paired, times the base's median."""
    base_ms = {
        row.name: report.row(report.base).median_ms
        for report in result.latency
        for row in report.rows
    }
    times = {row.name: row.latency for row in result.rows if row.latency is not None}
    paired = {name: time.ratio * base_ms[name] for name, time in times.items()}
    return Panel("latency here, ms (paired)", paired)


def _printed(result: TableResult) -> Panel:
    titles = {"latency": "latency, s/it (reported)", "fps": "images/s (reported)"}
    column = next((column for column in titles if column in result.units), "")
    found = {row.name: row.cell(column) for row in result.rows}
    read = {name: number(cell.reported) for name, cell in found.items() if cell is not None}
    return Panel(titles.get(column, ""), {k: v for k, v in read.items() if v is not None})
