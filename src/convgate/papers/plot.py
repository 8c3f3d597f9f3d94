"""The picture of a printed table: accuracy over parameters, FLOPs and latency."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convgate.charts import COLOURS, LIGHT, spread_out
from convgate.errors import InputError
from convgate.papers.digits import number
from convgate.papers.points import Panel, panels_of
from convgate.papers.result import TableResult
from convgate.papers.table import PaperTable, Row, load_table
from convgate.studies.grid import unique
from convgate.view.figure import (
    new_figure,
    plain,
    style_axes,
    write_figure,
)

PANEL_INCHES = 3.3
ROW_INCHES = 0.21
LETTER_INCHES = 0.085  # of a name, at most on average
DOT = 10.5  # points across, wide enough for a letter
SPAN = 20  # from the least to the most, above which an axis is logarithmic
NEAR = 0.12  # of a panel's width: dots so near have their numbers in one column
GAP = 0.025  # of a panel's height, between two numbers
WHITE = "#fefefe"  # of letters on a dot, whatever the ground
KINDS = (".png", ".svg")


@dataclass(frozen=True)
class Mark:
    """A row's point: what is written at it, its colour, its entry in the list of names."""

    text: str
    colour: str
    name: str
    series: bool


def write_plot(result: TableResult, path: Path) -> None:
    """Draw reported accuracies over parameters and FLOPs counted here, and over latency.

    Latency is ours where it was timed: the ratio to the base, paired round by round, times the
    base's median. Else it is as reported. Rows of a family are joined; others go by number.

    Args:
        result: The table, or some of its rows.
        path: An .svg, which follows the reader's light or dark, or a .png.

    Raises:
        InputError: for a table without accuracies, or another kind of file.
    """
    check_plot(result.name, path)
    table = load_table(result.name)
    figure = draw(table, [table.find(row.name) for row in result.rows], panels_of(table, result))
    write_figure(figure, path)


def check_plot(name: str, path: Path) -> None:
    """See that a table can be drawn into a file.

    Raises:
        InputError: if it has no accuracies, or the file cannot be written.
    """
    if not accuracies(load_table(name)):
        raise InputError(f"{name} has no top-1 accuracy to plot; `convgate table ls` lists others")
    if path.suffix not in KINDS or path.is_dir() or not path.parent.is_dir():
        raise InputError(f"--plot {path}: name an .svg or a .png in a folder that is there")


def accuracies(table: PaperTable) -> list[str]:
    """Return the columns of top-1 accuracies."""
    return [column for column in table.units if column.startswith("top1")]


def draw(table: PaperTable, rows: Sequence[Row], panels: Sequence[Panel]) -> Figure:
    """Draw one line of panels for each accuracy, and the names at the right."""
    marks = marks_of(rows)
    columns = accuracies(table)
    names = unique([(mark.name, mark.colour) for mark in marks.values()])
    height = max(4.6 * len(columns), ROW_INCHES * len(names) + 0.9)
    room = 0.4 + LETTER_INCHES * max(len(name) for name, _ in names)
    figure = new_figure(PANEL_INCHES * len(panels) + room, height, LIGHT)
    widths = [*([PANEL_INCHES] * len(panels)), room]
    grid = figure.add_gridspec(len(columns), len(widths), width_ratios=widths)
    for line, column in enumerate(columns):
        for place, panel in enumerate(panels):
            axes = figure.add_subplot(grid[line, place])
            _panel(axes, panel, rows, column, marks)
            axes.set_xlabel(panel.title)
            if place == 0:
                data = column.partition("_")[2]
                axes.set_ylabel(f"top-1{f' on {data}' if data else ''}, % (reported)")
    _names(figure.add_subplot(grid[:, -1]), names, room, height)
    return figure


def marks_of(rows: Sequence[Row]) -> dict[str, Mark]:
    """Return the mark of each row by its name.

    A family has one colour; other rows share that of their base, and have a number each.
    """
    kinds = unique([row.family or row.base or row.name for row in rows])
    colour = {kind: COLOURS[place % len(COLOURS)] for place, kind in enumerate(kinds)}
    marks = {}
    for place, row in enumerate(rows, 1):
        own = colour[row.family or row.base or row.name]
        if row.family:
            marks[row.name] = Mark(row.size, own, row.family, series=True)
        else:
            marks[row.name] = Mark(str(place), own, f"{place}  {row.label}", series=False)
    return marks


def _panel(
    axes: Axes, panel: Panel, rows: Sequence[Row], column: str, marks: Mapping[str, Mark]
) -> None:
    heights = {row.name: number(row.reported.get(column, "")) for row in rows}
    places = {
        row: (panel.values[row], y)
        for row, y in heights.items()
        if y is not None and row in panel.values
    }
    drawn = [row for row in rows if row.name in places]
    for family in unique([row.family for row in drawn if row.family]):
        members = [row.name for row in drawn if row.family == family]
        line = sorted(places[name] for name in members)
        axes.plot(
            [x for x, _ in line], [y for _, y in line], color=marks[members[0]].colour, lw=1.4
        )
    xs = [x for x, _ in places.values()]
    axes.set_xscale("log" if xs and max(xs) > SPAN * min(xs) else "linear")
    axes.margins(x=0.12, y=0.09)
    for depth, (row, (x, y)) in enumerate(places.items(), 3):
        mark = marks[row]
        size = DOT if mark.series else DOT / 2
        axes.plot(x, y, "o", color=mark.colour, ms=size, mec=LIGHT.ground, mew=0.6, zorder=depth)
        if mark.series:  # the letter is hidden with its dot where another one lies over both
            text = axes.text(x, y, mark.text, color=WHITE, fontsize=6.5, zorder=depth)
            text.set(ha="center", va="center_baseline", fontweight="bold")
    _numbers(axes, {marks[row].text: xy for row, xy in places.items() if not marks[row].series})
    style_axes(axes, LIGHT)


def _numbers(axes: Axes, places: Mapping[str, tuple[float, float]]) -> None:
    """Write numbers at the right of their points, those of neighbours one under the other."""
    axes.autoscale_view()  # the limits are set late, and places depend on them
    share = axes.transData + axes.transAxes.inverted()
    columns: list[list[tuple[float, float, str]]] = []
    shares = {text: share.transform(xy) for text, xy in places.items()}
    for x, y, text in sorted((float(x), float(y), text) for text, (x, y) in shares.items()):
        if not columns or x > columns[-1][-1][0] + NEAR:
            columns.append([])
        columns[-1].append((x, y, text))
    for near in columns:
        x = near[-1][0] + 0.04
        spread = spread_out([y for _, y, _ in near], GAP, GAP, 1 - GAP)
        for (own, y, text), place in zip(near, spread, strict=True):
            axes.plot([own, x], [y, place], color=LIGHT.text, lw=0.4, transform=axes.transAxes)
            axes.text(
                x,
                place,
                text,
                fontsize=6.5,
                color=LIGHT.text,
                va="center",
                transform=axes.transAxes,
            )


def _names(axes: Axes, names: Sequence[tuple[str, str]], width: float, height: float) -> None:
    axes.axis("off")
    axes.set(xlim=(0, width), ylim=(height, 0))  # in inches, from the top
    step = min(1.15 * ROW_INCHES, (height - 0.2) / len(names))
    for place, (name, colour) in enumerate(names):
        y = 0.1 + (place + 0.5) * step
        axes.plot(0.1, y, "o", color=colour, ms=7)
        text = axes.text(0.25, y, plain(name), color=LIGHT.text, va="center", fontsize=9)
        text.set_in_layout(False)
