"""A run of a printed table, or their list, as text: terminal, Markdown, CSV, JSON."""

import csv
import io
import json
from functools import reduce
from pathlib import Path
from textwrap import fill
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from convgate.errors import InputError, unknown
from convgate.papers.distance import DISTANCE
from convgate.papers.layout import (
    beside,
    commands_of,
    counted,
    parted,
    remarks,
    timed,
    trained,
)
from convgate.papers.result import RowResult, TableResult
from convgate.papers.table import COUNTED, list_tables, load_table
from convgate.studies import report
from convgate.studies.tables import Table

FORMATS = ("table", "markdown", "csv", "json")
WIDTH = 80
LEARNED = ("top", "ap", "map", "miou", DISTANCE)
TRAINED = ("mean", "std", "runs", "on")


def check_format(form: str) -> None:
    """Ask for one of `FORMATS`.

    Raises:
        InputError: for another one.
    """
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)


def render(result: TableResult, form: str) -> str:
    """Return the result in one of `FORMATS`."""
    check_format(form)
    if form == "json":
        return json.dumps(result.to_dict(), indent=2)
    if form == "csv":
        return _csv([_line(row) for row in result.rows], _columns(result))
    title = f"{result.name}: {result.caption}"
    words, commands = remarks(result), commands_of(result)
    tables = [counted(result), *([timed(result)] if result.latency else [])]
    learned = [trained(result)] if any(row.is_trained for row in result.rows) else []
    if form == "table":
        wrapped = [fill(line, WIDTH, subsequent_indent="  ") for line in words]
        narrow = [*(parted(result) if _width(tables[0]) > WIDTH else tables[:1]), *tables[1:]]
        return "\n".join([title, *map(plain, [*narrow, *learned]), *wrapped, *commands])
    listed = "\n".join(f"- {report.cell(line)}" for line in words)
    code = [*commands[:1], *(f"```\n{line}\n```" for line in commands[1:])]
    wide = [reduce(beside, tables), *learned]  # a page has room for what a terminal parts
    return "\n\n".join([f"## {title}", *map(report.table, wide), listed, *code])


def render_list(form: str) -> str:
    """Return what tables there are, in one of `FORMATS`."""
    check_format(form)
    lines: list[dict[str, Any]] = []
    for name in list_tables():
        table = load_table(name)
        built = any(row.build for row in table.row)
        ours = [column for column in table.units if built and column in COUNTED]
        lines.append(
            {
                "table": name,
                "caption": table.caption,
                "rows": len(table.row),
                "built": "yes" if built else "no",
                "counted": ", ".join(ours),
            }
        )
    if form == "json":
        return json.dumps(lines, indent=2)
    if form == "csv":
        return _csv(lines, list(lines[0]))
    body = tuple(tuple(str(cell) for cell in line.values()) for line in lines)
    content = Table(tuple(lines[0]), body)
    return plain(content) if form == "table" else report.table(content)


def write(path: Path, text: str) -> None:
    """Write a text with one line end behind it.

    Raises:
        InputError: if there is no such folder, or the path is one.
    """
    if path.is_dir() or not path.parent.is_dir():
        rule = "is a folder" if path.is_dir() else f"needs the folder {path.parent}"
        raise InputError(f"--out {path} {rule}; name a file in a folder that is there")
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def plain(content: Table) -> str:
    """Return a table of at most eighty columns, without colours."""
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    numbers = [all(_is_number(row[i]) for row in content.body) for i in range(len(content.head))]
    for title, right in zip(content.head, numbers, strict=True):
        table.add_column(title, justify="right" if right else "left", overflow="fold")
    for row in content.body:
        table.add_row(*row)
    console = Console(file=io.StringIO(), width=WIDTH, markup=False, highlight=False)
    console.print(table)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def _width(content: Table) -> int:
    """Return the columns that a table takes with no number broken, and labels on two lines."""
    label, *numbers = zip(content.head, *content.body, strict=True)
    words = [len(word) for cell in label for word in cell.split()]
    halves = [-(-len(cell) // 2) for cell in label]
    return 1 + max(*words, *halves) + sum(1 + _longest(column) for column in numbers)


def _longest(column: tuple[str, ...]) -> int:
    return max(len(line) for cell in column for line in cell.split("\n"))


def _is_number(cell: str) -> bool:
    return not cell.strip("-") or cell[0].isdigit()


def _columns(result: TableResult) -> list[str]:
    head = ["row", "label", "base", "counter", "all_params", "note", "command"]
    for column in result.units:
        head += [column + ending for ending in ("", "_unit", "_ours", "_same", "_reason")]
        head += [f"{column}_{key}" for key in TRAINED] if column.startswith(LEARNED) else []
    return [*head, "paper_ratio", "median_ms", "ratio", "ratio_low", "ratio_high", "verdict"]


def _line(row: RowResult) -> dict[str, Any]:
    line: dict[str, Any] = {"row": row.name} | {
        key: getattr(row, key) for key in ("label", "base", "counter", "all_params")
    }
    line |= {"note": row.note, "command": row.command, "paper_ratio": row.reported_ratio}
    for cell in row.cells:
        same = {None: "", True: "yes", False: "no"}[cell.matches]
        line |= {cell.column: cell.reported, f"{cell.column}_unit": cell.unit}
        line |= {f"{cell.column}_ours": cell.ours, f"{cell.column}_same": same}
        line[f"{cell.column}_reason"] = cell.reason if same == "no" else ""
        if cell.trained:
            line |= {f"{cell.column}_{key}": getattr(cell.trained[0], key) for key in TRAINED}
    if row.latency is not None:
        keys = ("median_ms", "ratio", "ratio_low", "ratio_high", "verdict")
        line |= {key: getattr(row.latency, key) for key in keys}
    return line


def _csv(lines: list[dict[str, Any]], columns: list[str]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue().rstrip("\n")
