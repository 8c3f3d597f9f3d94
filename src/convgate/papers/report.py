"""A run of a printed table as a reader sees it: terminal, page and notebook."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from textwrap import fill

from convgate.measure import LatencyReport, PresetReport
from convgate.papers.result import PaperCell, PaperRowResult
from convgate.papers.table import DISTANCE
from convgate.tables import WIDTH, Readable, Table

MANY = 4  # rows whose commands are all shown
TITLES = {"flops": "FLOPs", "no_channel_reduction": "no reduction", "map": "mAP", "miou": "mIoU"}


@dataclass(frozen=True, repr=False)
class PaperTableResult(Readable):
    """A printed table, or some of its rows."""

    name: str  # as in "selnext.2"
    caption: str  # what it is about
    source: str  # paper and table
    units: dict[str, str]  # columns in order, each with its unit
    rows: tuple[PaperRowResult, ...]  # the rows asked for
    counters: dict[str, str]  # the counters that were used, and what they count
    note: str = ""  # a remark on the table
    latency: tuple[LatencyReport, ...] = ()  # behind the rows' latencies, one for each base
    protocol: tuple[PresetReport, ...] = ()  # the paper's way of timing, one for each base

    def table(self) -> Table:
        """Return what is reported beside what is counted and timed, with room for all of it."""
        wide = [_counted(self, self._columns()), *([_timed(self)] if self.latency else [])]
        return replace(reduce(_beside, wide), title=f"{self.name}: {self.caption}")

    def trained(self) -> list[Table]:
        """Return what was trained here as a table of its own; nothing where there is nothing."""
        return [_trained(self)] if any(row.is_trained for row in self.rows) else []

    def notes(self) -> list[str]:
        """Return source, counters, remarks, known reasons, and how the times were taken."""
        return [
            f"source: {self.source}",
            *(f"{name}: {meaning}" for name, meaning in self.counters.items()),
            *([f"note: {self.note}"] if self.note else []),
            *(line for row in self.rows for line in _row_notes(row)),
            *_trained_notes(self),
            *_timing_notes(self),
        ]

    def commands(self) -> list[str]:
        """Return how to get accuracies: of every row without one, or of one where many are."""
        known = [row.command for row in self.rows if row.command and not row.is_trained]
        if not known:
            return []
        some = any(row.is_trained for row in self.rows)
        others = "the other accuracies are" if some else "accuracy is"
        if len(known) <= MANY:
            return [f"{others} as reported; to get it here:", *known]
        return [f"{others} as reported; to get it here (--rows has the others):", known[-1]]

    def __str__(self) -> str:
        """Return eighty columns: a table that is too wide is parted into ours and the rest."""
        parts = [_counted(self, self._columns())]
        if max(map(len, parts[0].text(WIDTH).splitlines())) > WIDTH:
            ours = [c for c in self.units if any(_ours(row, c) for row in self.rows)]
            rest = [c for c in self._columns() if c not in ours]
            parts = [_counted(self, ours), _counted(self, rest)]
        parts += [_timed(self)] if self.latency else []
        grid = "\n\n".join(part.text(WIDTH) for part in [*parts, *self.trained()])
        notes = [fill(line, WIDTH, subsequent_indent="  ") for line in self.notes()]
        return "\n".join([str(self.table().title), grid, *notes, *self.commands()])

    def _repr_html_(self) -> str:
        *first, last = [self.table(), *self.trained()]
        last = replace(last, notes=(*self.notes(), *self.commands()))
        return "".join(part.html() for part in [*first, last])

    def _columns(self) -> list[str]:
        return [column for column in self.units if not column.endswith("_pm")]


def _counted(result: PaperTableResult, columns: Sequence[str]) -> Table:
    ours = {column for column in columns if any(_ours(row, column) for row in result.rows)}
    printed = {c for c in columns if c not in ours or any(_is_printed(r, c) for r in result.rows)}
    head, cells = ["row"], [[row.label for row in result.rows]]
    for column in columns:
        title = "\n".join([*_name(column).split(" "), *_units(column, result)[:1]])
        if column in printed:
            head.append(title)
            cells.append([_reported(row, column, result) for row in result.rows])
        if column in ours:
            head.append("ours" if column in printed else f"our\n{title}")
            cells.append([_ours(row, column) for row in result.rows])
    if ours and any(row.verdict for row in result.rows):
        head.append("same")
        cells.append([row.verdict for row in result.rows])
    return _aligned(head, list(zip(*cells, strict=True)))


def _timed(result: PaperTableResult) -> Table:
    head = ("row", "median\nms", "ratio\n[95 %]", "verdict", "paper's\nratio")
    rows = []
    for row in result.rows:
        time = row.latency
        printed = "" if row.reported_ratio is None else f"{row.reported_ratio:.3f}"
        if time is None:
            rows.append((row.label, "", "", "", printed))
            continue
        interval = f"[{time.ratio_low:.3f}, {time.ratio_high:.3f}]"
        ratio = "1" if time.verdict == "base" else f"{time.ratio:.3f} {interval}"
        median = f"{time.median_ms:.0f}" if time.median_ms >= 100 else f"{time.median_ms:.3g}"
        rows.append((row.label, median, ratio, time.verdict, printed))
    return _aligned(head, rows)


def _beside(left: Table, right: Table) -> Table:
    """Return two tables of the same rows as one."""
    pairs = zip(left.rows, right.rows, strict=True)
    align = left.align + right.align[1:]
    return Table((*left.head, *right.head[1:]), [(*a, *b[1:]) for a, b in pairs], align)


def _trained(result: PaperTableResult) -> Table:
    cells = [(row, cell) for row in result.rows for cell in row.cells if cell.trained]
    several = len({cell.column for _, cell in cells}) > 1
    head = ("row", *(["number"] if several else []), "reported", "here", "runs", "trained on")
    rows = []
    for row, cell in cells:
        what = [row.label, *([_name(cell.column)] if several else []), cell.reported]
        digits = 4 if cell.column == DISTANCE else 2
        rows += [(*what, f.spread(digits), str(f.runs), f.on) for f in cell.trained]
    return _aligned(head, rows)


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    columns = zip(*rows, strict=True)
    numbers = [all(not c.strip("-") or c[0].isdigit() for c in column) for column in columns]
    return Table(head, rows, "".join("r" if number else "l" for number in numbers))


def _row_notes(row: PaperRowResult) -> Iterator[str]:
    for cell in row.cells:
        if cell.matches is False:
            yield f"{row.name}, {TITLES.get(cell.column, cell.column)}: {cell.reason}"
    if row.note:
        yield f"{row.name}: {row.note}"


def _trained_notes(result: PaperTableResult) -> Iterator[str]:
    cells = [cell for row in result.rows for cell in row.cells]
    found = [trained for cell in cells for trained in cell.trained]
    if found:
        yield "here: of the last epoch, mean ± standard deviation over the runs"
    if any(not trained.same_recipe for trained in found):
        yield (
            "another recipe than the table's: compare such rows with each other, not with the "
            "printed numbers"
        )
    if any(cell.column == DISTANCE and not cell.trained for cell in cells):
        yield (
            "distance: ours is that of trained networks; train a row by its command, then give "
            "--images DATA, and --results RUN if it lies elsewhere"
        )


def _timing_notes(result: PaperTableResult) -> Iterator[str]:
    for report in result.latency:
        yield (
            f"latency: batch {report.batch} on {_machine(report.environment)}, base "
            f"{report.base}, {report.rounds} rounds in {report.seconds:.0f} s"
        )
        yield from (f"warning: {warning}" for warning in report.warnings)
    for preset in result.protocol:
        for row in preset.rows:
            yield (
                f"{preset.protocol}: {row.name} {row.mean_s:.4f} ± {row.std_s:.4f} s/it, batch "
                f"{preset.batch}"
            )


def _machine(environment: Mapping[str, str]) -> str:
    """Return the device, on a CPU with its kind and the threads, and the version of torch."""
    device, threads = environment["device"], environment["threads"]
    if device == "cpu":
        device = f"{environment['cpu']}, {threads} thread{'s'[: threads != '1']}"
    form = f"{environment['form']}, " if "form" in environment else ""
    return f"{device}, {form}torch {environment['torch']}"


def _name(column: str) -> str:
    return TITLES.get(column, column.replace("top", "top-").replace("_", " "))


def _units(column: str, result: PaperTableResult) -> list[str]:
    """Return the one unit of a column, or nothing where its cells have several or none."""
    units = {c.unit for row in result.rows for c in row.cells if c.column == column} - {""}
    return list(units) if len(units) == 1 else []


def _reported(row: PaperRowResult, column: str, result: PaperTableResult) -> str:
    cell = row.cell(column)
    if cell is None or not cell.reported:
        return "" if cell is None else "-"
    return cell.reported if _units(column, result) else f"{cell.reported} {cell.unit}".strip()


def _is_printed(row: PaperRowResult, column: str) -> bool:
    return bool((row.cell(column) or NOTHING).reported)


def _ours(row: PaperRowResult, column: str) -> str:
    return (row.cell(column) or NOTHING).ours


NOTHING = PaperCell("", "", "")
