"""A run of a printed table: its rows built, counted and timed, beside what was reported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from torch import Tensor, nn

from convgate.deploy.engines import EngineConfig
from convgate.deploy.export import fold_if_it_can
from convgate.errors import InputError
from convgate.measure import LatencyReport, PresetReport, run_preset
from convgate.measure.timing import Progress
from convgate.papers.build import example_input, fixed_row, is_buildable, missing
from convgate.papers.count import COUNTERS, PROPERTIES, PaperCount, count_by, properties_of
from convgate.papers.recipes import train_command
from convgate.papers.report import PaperTableResult
from convgate.papers.result import PaperCell, PaperRowResult
from convgate.papers.table import (
    COUNTED,
    UNPRINTED,
    PaperRow,
    PaperTable,
    agrees,
    as_number,
    load_table,
    shown,
)
from convgate.tasks.detect.fixed import WORK


@dataclass(frozen=True, kw_only=True)
class TableTiming:
    """How the rows of a table are timed."""

    device: str = "cpu"
    batch: int = 1
    seconds: float = 20.0  # at most, for a base and its rows
    engine: EngineConfig = field(default_factory=EngineConfig)
    fold: bool = False  # all of them folded, as export ships them


def run_table(
    name: str,
    rows: str = "*",
    *,
    timing: TableTiming | None = None,
    on_progress: Progress | None = None,
) -> PaperTableResult:
    """Build and count the rows of a table; on request, time them against their bases."""
    table = load_table(name)
    chosen = table.select(rows)
    results = [_result(name, table, row) for row in chosen]
    found = PaperTableResult(
        name=name,
        caption=table.caption,
        source=table.source,
        units=table.units,
        rows=tuple(results),
        counters={key: COUNTERS[key] for key in dict.fromkeys(r.counter for r in results) if key},
        note=note_of(table),
    )
    if timing is None:
        return found
    timed = [row for row in chosen if is_buildable(row)]
    if not timed:
        raise InputError(f"no chosen row of {name} names a network to time; do without latency")
    reports, protocol = time_rows(table, timed, timing, on_progress)
    ours = {row.name: row for report in reports for row in report.rows}
    return replace(
        found,
        rows=tuple(replace(row, latency=ours.get(row.name)) for row in results),
        latency=reports,
        protocol=protocol,
    )


def time_rows(
    table: PaperTable,
    rows: Sequence[PaperRow],
    timing: TableTiming,
    on_progress: Progress | None = None,
) -> tuple[tuple[LatencyReport, ...], tuple[PresetReport, ...]]:
    """Time each base with the rows that name it; a base rides along unasked.

    Returns a report for each base, and the paper's own protocol where it was run: it takes over
    a thousand passes a row, so it runs on a GPU alone. Folded rows are compared with their base
    folded; what cannot be folded is timed as it is, and a warning of the report names it.
    """
    reports, protocols, engine = [], [], timing.engine
    if not engine.in_torch and any(row.build and row.build.task == "detect" for row in rows):
        raise InputError(
            f"--engine {engine.engine} runs networks with one output; time detectors with eager "
            "or compile"
        )
    groups = dict.fromkeys(row.base or row.name for row in rows)
    for place, base in enumerate(groups):
        members = [table.find(base), *(row for row in rows if row.base == base)]
        x = example_input(table, members[0], batch=timing.batch, device=timing.device)
        models = {row.name: fixed_row(table, row, timing.device) for row in members}
        models, unfolded = _folded(models, x) if timing.fold else (models, [])

        def report(text: str, share: float, done: int = place, base: str = base) -> None:
            if on_progress:
                on_progress(f"{base}: {text}", (done + share) / len(groups))

        timed = engine.compare(models, x, seconds=timing.seconds, on_progress=report)
        form = {"form": "folded"} if timing.fold else {}
        warnings = (*timed.warnings, *unfolded)
        reports.append(replace(timed, warnings=warnings, environment={**timed.environment, **form}))
        if table.protocol and x.device.type != "cpu":
            protocols.append(run_preset(models, x, table.protocol, **engine.setting))
    return tuple(reports), tuple(protocols)


def _folded(models: Mapping[str, nn.Module], x: Tensor) -> tuple[dict[str, nn.Module], list[str]]:
    """Return the networks folded where they can be, and a sentence for each that cannot."""
    pairs = {name: fold_if_it_can(model, x) for name, model in models.items()}
    kept = [
        f"{name} is {changes[0]}" for name, (lean, changes) in pairs.items() if lean is models[name]
    ]
    return {name: lean for name, (lean, _) in pairs.items()}, kept


def reported_ratio(table: PaperTable, row: PaperRow) -> float | None:
    """Return the printed latency over the base's, or its frames per second under the base's."""
    if not row.base:
        return None
    base = table.find(row.base).reported
    for column in ("latency", "fps"):
        own, other = as_number(row.reported.get(column, "")), as_number(base.get(column, ""))
        if own and other:
            return own / other if column == "latency" else other / own
    return None


@cache
def count_row(table: PaperTable, row: PaperRow) -> PaperCount:
    """PaperCount one row by its paper's counter, from its shapes alone."""
    model = fixed_row(table, row, "meta")
    return count_by(model, example_input(table, row, device="meta"), counter_of(table, row))


def counter_of(table: PaperTable, row: PaperRow) -> str:
    """Return the counter of a row: its own, the table's, or the plain one."""
    return row.counter or table.counter or "macs"


def note_of(table: PaperTable) -> str:
    """Return the table's note, and what a pass of its detectors is."""
    detects = any(row.build and row.build.task == "detect" for row in table.row)
    return "; ".join([*([table.note] if table.note else []), *([WORK] if detects else [])])


def _result(name: str, table: PaperTable, row: PaperRow) -> PaperRowResult:
    wanted = any(column in row.reported for column in COUNTED) or bool(table.unprinted())
    counted = count_row(table, row) if wanted and is_buildable(row) else None
    notes = [row.note, missing(row)]
    return PaperRowResult(
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


def _cells(table: PaperTable, row: PaperRow, counted: PaperCount | None) -> tuple[PaperCell, ...]:
    own = _properties(row)
    cells = []
    for column in table.units:
        printed, unit = row.reported.get(column), table.unit(row, column)
        if printed is None and column not in (*own, *table.unprinted()):
            continue
        cell = PaperCell(column, unit, printed or "", reason=row.differs.get(column, ""))
        if column in own:
            same = own[column] == printed if printed else None
            cell = replace(cell, ours=own[column], matches=same)
        elif counted is not None and column in COUNTED:
            cell = _counted(cell, counted, truncated=column in row.truncated)
        cells.append(cell)
    return tuple(cells)


def _counted(cell: PaperCell, counted: PaperCount, *, truncated: bool) -> PaperCell:
    number, printed = getattr(counted, cell.column), cell.reported
    if not printed:
        return replace(cell, ours=shown(number, UNPRINTED, cell.unit))
    match = agrees(number, printed, cell.unit, truncated=truncated)
    return replace(cell, ours=shown(number, printed, cell.unit), matches=match)


def _properties(row: PaperRow) -> dict[str, str]:
    if row.build is None or row.build.model or row.build.gate is None:
        return {}
    found = properties_of(row.build.gate.name)
    return {column: "yes" if found[column] else "no" for column in PROPERTIES}
