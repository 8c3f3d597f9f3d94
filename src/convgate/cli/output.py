"""What verbs print: rows as a table or as JSON, and a bar while the work goes on."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from convgate.errors import printable

Rows = Sequence[dict[str, Any]]


def show(rows: Rows, as_json: bool) -> None:
    """Print rows of equal keys as a table that fits the terminal, or as JSON."""
    if as_json:
        typer.echo(json.dumps(rows, indent=2, default=str))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    columns = [Column(name, overflow="fold") for name in (rows[0] if rows else ())]
    table = Table(*columns, box=box.SIMPLE, pad_edge=False)
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    Console(markup=False, highlight=False).print(table)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(printable(f"{key}={option}") for key, option in value.items())
    return "" if value is None else printable(str(value))


@contextmanager
def progress() -> Iterator[Any]:
    """Show a bar on a terminal's standard error, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda text, share: bar.update(task, description=text, completed=share)
