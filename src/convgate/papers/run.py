"""Run a printed table: build its rows, count them, and put ours beside what was reported."""

from dataclasses import replace

import timm

from convgate.deploy.engines import EngineConfig
from convgate.errors import InputError
from convgate.measure.timing import Progress
from convgate.models.create import TORCHVISION
from convgate.papers.build import example_input, fixed_row
from convgate.papers.commands import train_command
from convgate.papers.count import COUNTERS, Count, count
from convgate.papers.digits import UNPRINTED, agrees, shown
from convgate.papers.properties import PROPERTIES, properties
from convgate.papers.result import Cell, RowResult, TableResult
from convgate.papers.table import COUNTED, PaperTable, Row, load_table
from convgate.papers.timing import reported_ratio, time_rows
from convgate.tasks.detect.fixed import WORK


def run_table(
    name: str,
    rows: str = "*",
    *,
    latency: bool = False,
    device: str = "cpu",
    batch: int = 1,
    seconds: float = 20.0,
    course: EngineConfig | None = None,
    on_progress: Progress | None = None,
) -> TableResult:
    """Build and count the rows of a table; on request, time them against their bases.

    Args:
        name: One of `list_tables()`.
        rows: A row's name, or a shell pattern for names.
        latency: Whether to time as well.
        device: Where to time.
        batch: Images in a timed forward pass.
        seconds: Most seconds of timing for each base and its rows.
        course: On which engine; eagerly by default.
        on_progress: Called with a word and the share that is done.

    Raises:
        InputError: for an unknown table or row (with the nearest), a pattern without a match, or
            rows that cannot be timed.
    """
    table = load_table(name)
    chosen = table.select(rows)
    results = [_result(name, table, row) for row in chosen]
    found = TableResult(
        name=name,
        caption=table.caption,
        source=table.source,
        units=table.units,
        rows=tuple(results),
        counters={key: COUNTERS[key] for key in dict.fromkeys(r.counter for r in results) if key},
        note=note_of(table),
    )
    if not latency:
        return found
    timed = [row for row in chosen if is_buildable(row)]
    if not timed:
        raise InputError(f"no chosen row of {name} names a network to time; do without latency")
    times = time_rows(
        table,
        timed,
        device=device,
        batch=batch,
        seconds=seconds,
        course=course,
        on_progress=on_progress,
    )
    ours = {row.name: row for report in times.reports for row in report.rows}
    return replace(
        found,
        rows=tuple(replace(row, latency=ours.get(row.name)) for row in results),
        latency=times.reports,
        protocol=times.protocol,
    )


def count_row(table: PaperTable, row: Row) -> Count:
    """Count one row by its paper's counter, from its shapes alone."""
    model = fixed_row(table, row, "meta")
    return count(model, example_input(table, row, device="meta"), counter_of(table, row))


def counter_of(table: PaperTable, row: Row) -> str:
    """Return the counter of a row: its own, the table's, or the plain one."""
    return row.counter or table.counter or "macs"


def note_of(table: PaperTable) -> str:
    """Return the table's note, and what a pass of its detectors is."""
    detects = any(row.build and row.build.task == "detect" for row in table.row)
    return "; ".join([*([table.note] if table.note else []), *([WORK] if detects else [])])


def is_buildable(row: Row) -> bool:
    """Tell whether the row names a network that is there."""
    return row.build is not None and bool(row.build.model) and not _missing(row)


def _missing(row: Row) -> str:
    model = row.build.model if row.build else ""
    known = not model or model.startswith(TORCHVISION) or timm.is_model(model)
    return "" if known else f"there is no network {model!r} in this timm"


def _result(name: str, table: PaperTable, row: Row) -> RowResult:
    wanted = any(column in row.reported for column in COUNTED) or bool(table.unprinted())
    counted = count_row(table, row) if wanted and is_buildable(row) else None
    notes = [row.note, _missing(row)]
    return RowResult(
        name=row.name,
        label=row.label,
        base=row.base,
        cells=_cells(table, row, counted),
        counter=counted.counter if counted else "",
        all_params=counted.all_params if counted else None,
        note="; ".join(note for note in notes if note),
        command=train_command(name, table, row),
        reported_ratio=reported_ratio(table, row),
    )


def _cells(table: PaperTable, row: Row, counted: Count | None) -> tuple[Cell, ...]:
    own = _properties(row)
    cells = []
    for column in table.units:
        printed, unit = row.reported.get(column), table.unit(row, column)
        if printed is None and column not in (*own, *table.unprinted()):
            continue
        cell = Cell(column, unit, printed or "", reason=row.differs.get(column, ""))
        if column in own:
            cell = replace(cell, ours=own[column], matches=_same(own[column], printed))
        elif counted is not None and column in COUNTED:
            cell = _counted(cell, counted, truncated=column in row.truncated)
        cells.append(cell)
    return tuple(cells)


def _counted(cell: Cell, counted: Count, *, truncated: bool) -> Cell:
    number, printed = getattr(counted, cell.column), cell.reported
    if not printed:
        return replace(cell, ours=shown(number, UNPRINTED, cell.unit))
    match = agrees(number, printed, cell.unit, truncated=truncated)
    return replace(cell, ours=shown(number, printed, cell.unit), matches=match)


def _properties(row: Row) -> dict[str, str]:
    if row.build is None or row.build.model or row.build.gate is None:
        return {}
    found = properties(row.build.gate.name)
    return {column: "yes" if found[column] else "no" for column in PROPERTIES}


def _same(ours: str, printed: str | None) -> bool | None:
    return ours == printed if printed else None
