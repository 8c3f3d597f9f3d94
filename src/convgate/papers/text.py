"""A run of a printed table, or the list of all tables, as text: terminal, Markdown, CSV, JSON."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from convgate.errors import unknown
from convgate.papers.report import PaperTableResult
from convgate.papers.result import PaperRowResult
from convgate.papers.table import COUNTED, DISTANCE, list_tables, load_table
from convgate.storage import check_free, write_text
from convgate.studies.report import cell
from convgate.tables import Table

FORMATS = ("table", "markdown", "csv", "json")
LEARNED = ("top", "ap", "map", "miou", DISTANCE)
TRAINED = ("mean", "std", "runs", "on")


def check_format(form: str) -> None:
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)


def write_table(text: str, path: Path, *, force: bool = False) -> None:
    check_free(path, force)
    write_text(path, text.rstrip("\n") + "\n")


def render(result: PaperTableResult, form: str) -> str:
    check_format(form)
    if form == "table":
        return str(result)
    if form == "json":
        return json.dumps(result.to_dict(), indent=2)
    if form == "csv":
        return _csv([_line(row) for row in result.rows], _columns(result))
    notes = "\n".join(f"- {cell(line)}" for line in result.notes())
    commands = result.commands()
    code = [*commands[:1], *(f"```\n{line}\n```" for line in commands[1:])]
    trained = [table.markdown() for table in result.trained()]
    return "\n\n".join([f"## {result.table().markdown()}", *trained, notes, *code])


def render_list(form: str) -> str:
    check_format(form)
    lines = [_listed(name) for name in list_tables()]
    if form == "json":
        return json.dumps(lines, indent=2)
    if form == "csv":
        return _csv(lines, list(lines[0]))
    table = Table(list(lines[0]), [[str(value) for value in line.values()] for line in lines])
    return table.text() if form == "table" else table.markdown()


def _listed(name: str) -> dict[str, Any]:
    table = load_table(name)
    built = any(row.build for row in table.row)
    ours = [column for column in table.units if built and column in COUNTED]
    return {
        "table": name,
        "caption": table.caption,
        "rows": len(table.row),
        "built": "yes" if built else "no",
        "counted": ", ".join(ours),
    }


def _columns(result: PaperTableResult) -> list[str]:
    head = ["row", "label", "base", "counter", "all_params", "note", "command"]
    for column in result.units:
        head += [column + ending for ending in ("", "_unit", "_ours", "_same", "_reason")]
        head += [f"{column}_{key}" for key in TRAINED] if column.startswith(LEARNED) else []
    return [*head, "paper_ratio", "median_ms", "ratio", "ratio_low", "ratio_high", "verdict"]


def _line(row: PaperRowResult) -> dict[str, Any]:
    line: dict[str, Any] = {"row": row.name} | {
        key: getattr(row, key) for key in ("label", "base", "counter", "all_params")
    }
    line |= {"note": row.note, "command": row.command, "paper_ratio": row.reported_ratio}
    for own in row.cells:
        same = {None: "", True: "yes", False: "no"}[own.matches]
        line |= {own.column: own.reported, f"{own.column}_unit": own.unit}
        line |= {f"{own.column}_ours": own.ours, f"{own.column}_same": same}
        line[f"{own.column}_reason"] = own.reason if same == "no" else ""
        if own.trained:
            line |= {f"{own.column}_{key}": getattr(own.trained[0], key) for key in TRAINED}
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
