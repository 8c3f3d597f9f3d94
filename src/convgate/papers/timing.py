"""Latency of a table's rows: paired with the base's here, beside the paper's own ratio."""

from collections.abc import Sequence
from dataclasses import dataclass

from convgate.deploy.engines import EngineConfig
from convgate.errors import InputError
from convgate.measure import LatencyReport, PresetReport, run_preset
from convgate.measure.timing import Progress
from convgate.papers.build import example_input, fixed_row
from convgate.papers.digits import number
from convgate.papers.table import PaperTable, Row


@dataclass(frozen=True)
class Times:
    """One report for each base; the published protocol's where it was run."""

    reports: tuple[LatencyReport, ...]
    protocol: tuple[PresetReport, ...]


def time_rows(
    table: PaperTable,
    rows: Sequence[Row],
    *,
    device: str,
    batch: int,
    seconds: float,
    course: EngineConfig | None = None,
    on_progress: Progress | None = None,
) -> Times:
    """Time each base with the rows that name it; a base rides along unasked.

    The paper's own protocol takes over a thousand passes a row, so it runs on a GPU alone.

    Args:
        table: The table.
        rows: The rows to time.
        device: Where.
        batch: Images in a forward pass.
        seconds: Most seconds for each base.
        course: On which engine; eagerly by default.
        on_progress: Called with a word and the share that is done.

    Raises:
        InputError: for a detector on an engine that takes none.
    """
    reports, protocols, course = [], [], course or EngineConfig()
    if not course.in_torch and any(row.build and row.build.task == "detect" for row in rows):
        raise InputError(
            f"--engine {course.engine} runs networks with one output; time detectors with eager "
            "or compile"
        )
    groups = dict.fromkeys(row.base or row.name for row in rows)
    for place, base in enumerate(groups):
        members = [table.find(base), *(row for row in rows if row.base == base)]
        x = example_input(table, members[0], batch=batch, device=device)
        models = {row.name: fixed_row(table, row, device) for row in members}

        def report(text: str, share: float, done: int = place, base: str = base) -> None:
            if on_progress:
                on_progress(f"{base}: {text}", (done + share) / len(groups))

        reports.append(course.compare(models, x, seconds=seconds, on_progress=report))
        if table.protocol and x.device.type != "cpu":
            protocols.append(run_preset(models, x, table.protocol, **course.setting))
    return Times(tuple(reports), tuple(protocols))


def reported_ratio(table: PaperTable, row: Row) -> float | None:
    """Return the printed latency over the base's, or its frames per second under the base's."""
    if not row.base:
        return None
    base = table.find(row.base).reported
    for column in ("latency", "fps"):
        own, other = number(row.reported.get(column, "")), number(base.get(column, ""))
        if own and other:
            return own / other if column == "latency" else other / own
    return None
