"""What the pictures share: colours for light and dark, and files that are whole or not there."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from convgate.charts import DARK, LIGHT, Ink
from convgate.errors import InputError, unknown
from convgate.storage import replacing, write_text

KINDS = ("svg", "png", "pdf")
DPI = 160


def ink(dark: bool) -> Ink:
    """Return the colours of a scheme."""
    return DARK if dark else LIGHT


def check_picture(path: Path) -> None:
    """Refuse a name that no picture can be written to, before the work for it is done.

    Raises:
        InputError: for another kind of file than ``KINDS``, or a folder that does not exist.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind not in KINDS:
        raise unknown("kind of picture", kind or str(path), KINDS)
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: there is no such folder to write {path.name} to")


def new_figure(width: float, height: float, ink: Ink) -> Figure:
    """Return an empty figure of a size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=ink.ground)
    FigureCanvasAgg(figure)
    return figure


def style_axes(axes: Axes, ink: Ink) -> None:
    """Give axes the scheme's colours, and a grid behind what is drawn."""
    axes.set_facecolor(ink.ground)
    axes.grid(color=ink.line, lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=ink.soft, labelsize=8)
    for part in (axes.xaxis.label, axes.yaxis.label, axes.title):
        part.set_color(ink.text)
    for spine in axes.spines.values():
        spine.set_color(ink.line)


def plain(label: str, width: int = 0) -> str:
    """Return a label that matplotlib does not read as mathematics, in lines of ``width``."""
    wrapped = fill(label, width, break_on_hyphens=False) if width else label
    return wrapped.replace("$", r"\$")


def write(
    figure: Figure, path: Path, rows: Sequence[dict[str, Any]], *, dark: bool = False
) -> None:
    """Replace a picture, and the CSV file of its numbers beside it, each in one step.

    A light SVG turns dark with its reader's colour scheme.
    """
    write_figure(figure, path, dark=dark)
    numbers = io.StringIO()
    writer = csv.DictWriter(numbers, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path.with_suffix(".csv"), numbers.getvalue())


def write_figure(figure: Figure, path: Path, *, dark: bool = False) -> None:
    """Replace a picture in one step; the same picture is the same file.

    A light SVG turns dark with its reader's colour scheme.
    """
    kind = path.suffix.removeprefix(".").lower()
    fixed: dict[str, Any] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    drawn = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "convgate"}):  # no random names
        figure.savefig(drawn, format=kind, dpi=DPI, metadata=fixed)
    data = drawn.getvalue()
    if kind == "svg" and not dark:
        data = data.replace(b"</style>", f"{_dark_rules()}</style>".encode(), 1)
    with replacing(path) as file:
        file.write(data)


def _dark_rules() -> str:
    """Return CSS that exchanges the light scheme's colours, which matplotlib writes inline."""
    pairs = zip(vars(LIGHT).values(), vars(DARK).values(), strict=True)
    rules = [
        f'[style*="{part}: {light}"]{{{part}:{dark} !important}}'
        for light, dark in pairs
        for part in ("fill", "stroke")
    ]
    return f"@media (prefers-color-scheme: dark){{{''.join(rules)}}}"
