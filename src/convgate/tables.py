"""Tables of text for terminal, Markdown and notebook, and records that print as one."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, fields
from html import escape
from itertools import zip_longest
from typing import Any

from convgate.errors import printable

WIDTH = 80
_MIN_FOLDED = 12  # a text column is folded down to so many characters, not further


@dataclass(frozen=True)
class Table:
    """A table of text. A line break in a cell parts it, as a number from its interval.

    Other characters that move, colour or hide text in a terminal are held as escapes.
    """

    head: Sequence[str]  # one text a column
    rows: Sequence[Sequence[str]]  # as many cells as the head has
    align: str = ""  # "l" or "r" for each column, as in "lrr"; all to the left by default
    title: str = ""  # a line above
    notes: Sequence[str] = ()  # lines below

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row) != len(self.head)]
        if wrong or len(self._align) != len(self.head) or set(self._align) - {"l", "r"}:
            raise ValueError(
                f"a table of {len(self.head)} columns got the row {(wrong or [''])[0]!r} "
                f"and the alignment {self.align!r}"
            )
        object.__setattr__(self, "head", tuple(map(_printable_lines, self.head)))
        object.__setattr__(self, "rows", [tuple(map(_printable_lines, row)) for row in self.rows])
        object.__setattr__(self, "title", printable(self.title))
        object.__setattr__(self, "notes", tuple(map(printable, self.notes)))

    @property
    def _align(self) -> str:
        return self.align or "l" * len(self.head)

    def text(self, width: int | None = None) -> str:
        """Return aligned lines of at most ``width`` characters (80) where the numbers allow it.

        Columns of text fold where the table is too wide; columns to the right never do.
        """
        limit = width or WIDTH
        gap, widths = 2, self._widths(2, limit)
        if _total(widths, gap) > limit:
            gap, widths = 1, self._widths(1, limit)
        lines = [*self._lines(self.head, widths, gap), "-" * _total(widths, gap)]
        for row in self.rows:
            lines += self._lines(row, widths, gap)
        title = [self.title] if self.title else []
        return "\n".join([*title, *lines, *(p for note in self.notes for p in _fold(note, limit))])

    def markdown(self) -> str:
        """Return the table in GitHub's Markdown; a line break becomes ``<br>``."""
        rule = ["---:" if side == "r" else "---" for side in self._align]
        cells = [_markdown_cells(self.head), rule, *map(_markdown_cells, self.rows)]
        table = "\n".join(f"| {' | '.join(row)} |" for row in cells)
        parts = [_markdown_cells([part])[0] for part in (self.title, *self.notes)]
        return "\n\n".join(filter(None, [parts[0], table, *parts[1:]]))

    def html(self) -> str:
        caption = f"<caption>{escape(self.title)}</caption>" if self.title else ""
        head = self._html_row("th", self.head)
        body = "".join(self._html_row("td", row) for row in self.rows)
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        table = f"<table>{caption}<thead>{head}</thead><tbody>{body}</tbody></table>"
        return f"<div>{table}{notes}</div>"

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self.html()

    def _widths(self, gap: int, limit: int) -> list[int]:
        columns = zip(self.head, *self.rows, strict=True)
        widths = [max(len(line) for cell in c for line in cell.split("\n")) for c in columns]
        texts = [i for i, side in enumerate(self._align) if side == "l"]
        for _ in range(_total(widths, gap) - limit):
            widest = max(texts, key=widths.__getitem__, default=None)
            if widest is None or widths[widest] <= _MIN_FOLDED:
                break
            widths[widest] -= 1
        return widths

    def _lines(self, row: Sequence[str], widths: Sequence[int], gap: int) -> list[str]:
        cells = [_fold(cell, width) for cell, width in zip(row, widths, strict=True)]
        lines = []
        for parts in zip_longest(*cells, fillvalue=""):
            placed = zip(parts, widths, self._align, strict=True)
            filled = [p.rjust(w) if side == "r" else p.ljust(w) for p, w, side in placed]
            lines.append((" " * gap).join(filled).rstrip())
        return lines

    def _html_row(self, tag: str, row: Sequence[str]) -> str:
        sides = {"l": "left", "r": "right"}
        placed = [
            (sides[side], escape(cell).replace("\n", "<br>"))
            for cell, side in zip(row, self._align, strict=True)
        ]
        cells = [f'<{tag} style="text-align: {side}">{cell}</{tag}>' for side, cell in placed]
        return f"<tr>{''.join(cells)}</tr>"


def _printable_lines(cell: str) -> str:
    return "\n".join(map(printable, cell.split("\n")))


def _total(widths: Sequence[int], gap: int) -> int:
    return sum(widths) + gap * (len(widths) - 1)


def _fold(text: str, width: int) -> list[str]:
    lines = []
    for line in text.split("\n"):
        lines += textwrap.wrap(line, max(width, 1), break_on_hyphens=False) or [""]
    return lines


def _markdown_cells(row: Sequence[str]) -> list[str]:
    return [
        cell.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", "<br>")
        for cell in row
    ]


@dataclass(frozen=True)
class Readable:
    """A frozen record for people and programs: it prints as a table and turns into JSON types."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name; records become dicts and tuples become lists."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}

    def table(self) -> Table:
        """Return what is printed: here one row for each field."""
        named = [(f.name.replace("_", " "), getattr(self, f.name)) for f in fields(self)]
        return Table(
            head=(type(self).__name__, ""), rows=[(n, cell_text(value)) for n, value in named]
        )

    def __str__(self) -> str:
        return self.table().text()

    def __repr__(self) -> str:  # for those that ask dataclass for none: a prompt shows the table
        return str(self)

    def _repr_html_(self) -> str:
        return self.table().html()


def cell_text(value: object) -> str:
    """Return a value as a table's cell: numbers short, nothing as "-"."""
    if value is None or value == () or value == {}:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return "\n".join(f"{key}={cell_text(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(cell_text, value))
    if isinstance(value, Readable):
        return ", ".join(f"{f.name}={cell_text(getattr(value, f.name))}" for f in fields(value))
    return printable(str(value))


def short_number(number: float) -> str:
    """Return at least three digits, and no exponent."""
    decimals = 2 - math.floor(math.log10(abs(number))) if number else 0
    return f"{number:.{min(max(decimals, 0), 6)}f}"


def _plain(value: Any) -> Any:
    if isinstance(value, Readable):
        return value.to_dict()
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value
