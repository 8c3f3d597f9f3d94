"""A run of a printed table laid out in cells and lines, for the terminal and Markdown alike."""

from collections.abc import Collection, Iterator, Mapping

from convgate.papers.distance import DISTANCE
from convgate.papers.result import RowResult, TableResult
from convgate.studies.notation import spread
from convgate.studies.tables import Table

MANY = 4  # rows whose commands are all shown
TITLES = {"flops": "FLOPs", "no_channel_reduction": "no reduction", "map": "mAP", "miou": "mIoU"}


def counted(result: TableResult, columns: Collection[str] | None = None) -> Table:
    """Return what is reported, beside ours where there is ours; of some columns, or of all."""
    columns = [
        c for c in result.units if not c.endswith("_pm") and (columns is None or c in columns)
    ]
    ours = {column for column in columns if any(_ours(row, column) for row in result.rows)}
    printed = {c for c in columns if c not in ours or any(_is_printed(r, c) for r in result.rows)}
    head = ["row"]
    for column in columns:
        title = _title(column, result)
        head += [title] if column in printed else []
        head += ["ours" if column in printed else f"our\n{title}"] if column in ours else []
    judged = any(row.verdict for row in result.rows) and bool(ours)
    head += ["same"] if judged else []
    body = []
    for row in result.rows:
        cells = [row.label]
        for column in columns:
            cells += [_reported(row, column, result)] if column in printed else []
            cells += [_ours(row, column)] if column in ours else []
        body.append((*cells, *([row.verdict] if judged else [])))
    return Table(tuple(head), tuple(body))


def parted(result: TableResult) -> tuple[Table, ...]:
    """Return the same as two tables: what is counted here, and what is as reported."""
    ours = [c for c in result.units if any(_ours(row, c) for row in result.rows)]
    return counted(result, ours), counted(result, [c for c in result.units if c not in ours])


def timed(result: TableResult) -> Table:
    """Return latencies: ours, and both ratios to the base's row."""
    head = ("row", "median\nms", "ratio\n[95 %]", "verdict", "paper's\nratio")
    body = []
    for row in result.rows:
        time = row.latency
        printed = "" if row.reported_ratio is None else f"{row.reported_ratio:.3f}"
        if time is None:
            body.append((row.label, "", "", "", printed))
            continue
        interval = f"[{time.ratio_low:.3f}, {time.ratio_high:.3f}]"
        ratio = "1" if time.verdict == "base" else f"{time.ratio:.3f} {interval}"
        body.append((row.label, _ms(time.median_ms), ratio, time.verdict, printed))
    return Table(head, tuple(body))


def beside(left: Table, right: Table) -> Table:
    """Return two tables of the same rows as one."""
    pairs = zip(left.body, right.body, strict=True)
    return Table((*left.head, *right.head[1:]), tuple((*a, *b[1:]) for a, b in pairs))


def trained(result: TableResult) -> Table:
    """Return what was trained here: mean and deviation over the runs, beside what is reported."""
    cells = [(row, cell) for row in result.rows for cell in row.cells if cell.trained]
    several = len({cell.column for _, cell in cells}) > 1
    head = ("row", *(["number"] if several else []), "reported", "here", "runs", "trained on")
    body = []
    for row, cell in cells:
        what = [row.label, *([_name(cell.column)] if several else []), cell.reported]
        digits = 4 if cell.column == DISTANCE else 2
        body += [
            (*what, spread(found.mean, found.std, digits), str(found.runs), found.on)
            for found in cell.trained
        ]
    return Table(head, tuple(body))


def remarks(result: TableResult) -> list[str]:
    """Return source, counters, notes, known reasons, and how the times were taken."""
    lines = [f"source: {result.source}"]
    lines += [f"{name}: {meaning}" for name, meaning in result.counters.items()]
    lines += [f"note: {result.note}"] if result.note else []
    lines += [line for row in result.rows for line in _row_remarks(row)]
    lines += _trained_remarks(result)
    for report in result.latency:
        lines.append(
            f"latency: batch {report.batch} on {_machine(report.environment)}, base "
            f"{report.base}, {report.rounds} rounds in {report.seconds:.0f} s"
        )
        lines += [f"warning: {warning}" for warning in report.warnings]
    for preset in result.protocol:
        lines += [f"{preset.protocol}: {r.name} {r.mean_s:.4f} ± {r.std_s:.4f} s/it, batch "
                  f"{preset.batch}" for r in preset.rows]  # fmt: skip
    return lines


def commands_of(result: TableResult) -> list[str]:
    """Return how to get accuracies: of every row without one, or of one where there are many."""
    known = [row.command for row in result.rows if row.command and not row.is_trained]
    if not known:
        return []
    some = any(row.is_trained for row in result.rows)
    others = "the other accuracies are" if some else "accuracy is"
    if len(known) <= MANY:
        return [f"{others} as reported; to get it here:", *known]
    return [f"{others} as reported; to get it here (--rows has the others):", known[-1]]


def _ms(time: float) -> str:
    return f"{time:.0f}" if time >= 100 else f"{time:.3g}"


def _machine(environment: Mapping[str, str]) -> str:
    """Return the device, on a CPU with its kind and the threads, and the version of torch."""
    device, threads = environment["device"], environment["threads"]
    if device == "cpu":
        device = f"{environment['cpu']}, {threads} thread{'s'[: threads != '1']}"
    return f"{device}, torch {environment['torch']}"


def _row_remarks(row: RowResult) -> Iterator[str]:
    for cell in row.cells:
        if cell.matches is False:
            yield f"{row.name}, {TITLES.get(cell.column, cell.column)}: {cell.reason}"
    if row.note:
        yield f"{row.name}: {row.note}"


def _trained_remarks(result: TableResult) -> Iterator[str]:
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


def _title(column: str, result: TableResult) -> str:
    return "\n".join([*_name(column).split(" "), *_units(column, result)[:1]])


def _name(column: str) -> str:
    return TITLES.get(column, column.replace("top", "top-").replace("_", " "))


def _units(column: str, result: TableResult) -> list[str]:
    """Return the one unit of a column, or nothing where its cells have several or none."""
    units = {c.unit for row in result.rows for c in row.cells if c.column == column} - {""}
    return list(units) if len(units) == 1 else []


def _reported(row: RowResult, column: str, result: TableResult) -> str:
    cell = row.cell(column)
    if cell is None or not cell.reported:
        return "" if cell is None else "-"
    return cell.reported if _units(column, result) else f"{cell.reported} {cell.unit}".strip()


def _is_printed(row: RowResult, column: str) -> bool:
    cell = row.cell(column)
    return cell is not None and bool(cell.reported)


def _ours(row: RowResult, column: str) -> str:
    cell = row.cell(column)
    return "" if cell is None else cell.ours
