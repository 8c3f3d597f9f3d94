"""The picture of a printed table: reported accuracy over parameters, FLOPs and latency.

Rows of one family are joined from size to size, and each dot has its size as a letter; other rows
have numbers. Names stand at the right.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import altair as alt

from convgate.charts import COLOURS, LIGHT, check_chart_path, spread_out, write_chart
from convgate.errors import InputError
from convgate.papers.build import is_buildable
from convgate.papers.report import PaperTableResult
from convgate.papers.run import count_row
from convgate.papers.table import PaperRow, PaperTable, as_number, load_table
from convgate.studies.grid import unique

PANEL = 250, 330
"""Width and height of a panel, in pixels as all sizes here."""
STEP = 20  # from name to name
LETTER = 6.2  # width of a name's letter, at most on average
GAP = 10  # between two numbers
NEAR = 0.12  # of a panel's width: dots so near have their numbers in one column
LOGARITHMIC = 20  # from min to max, above which an axis is
WHITE = "#fefefe"  # of letters on a dot, whatever the ground
DOTS = {True: 130, False: 34}
"""Area of a dot with a letter, and of one with a number beside it."""

Values = list[dict[str, Any]]


@dataclass(frozen=True)
class CostAxis:
    """What accuracy is drawn over: its title with the unit, and the value of each row by name."""

    title: str
    values: dict[str, float]


@dataclass(frozen=True)
class RowMark:
    """What is written at a row's dot, its colour, and its entry in the list of names."""

    text: str
    colour: str
    name: str
    lettered: bool


def write_plot(result: PaperTableResult, path: Path, *, force: bool = False) -> None:
    """Draw reported accuracies over parameters and FLOPs counted here, and over latency.

    Latency is ours where it was timed: the ratio to the base, paired round by round, times the
    base's median. Else it is as reported.
    """
    check_plot(result.name, path, force=force)
    table = load_table(result.name)
    rows = [table.find(row.name) for row in result.rows]
    write_chart(draw(table, rows, cost_axes(table, result)), path, force=force)


def check_plot(name: str, path: Path, *, force: bool = False) -> None:
    """See that a table can be drawn into a file."""
    if not accuracies(load_table(name)):
        raise InputError(f"{name} has no top-1 accuracy to plot; `convgate table ls` lists others")
    check_chart_path(path, force=force)


def accuracies(table: PaperTable) -> list[str]:
    return [column for column in table.units if column.startswith("top1")]


def cost_axes(table: PaperTable, result: PaperTableResult) -> list[CostAxis]:
    rows = [table.find(shown.name) for shown in result.rows]
    counts = {row.name: count_row(table, row) for row in rows if is_buildable(row)}
    unit, size = ("G", 1e9) if any(c.flops >= 1e9 for c in counts.values()) else ("M", 1e6)
    axes = [
        CostAxis("parameters, M", {name: c.params / 1e6 for name, c in counts.items()}),
        CostAxis(f"FLOPs, {unit}", {name: c.flops / size for name, c in counts.items()}),
        _timed(result) if result.latency else _printed(result),
    ]
    drawn = [axis for axis in axes if axis.values]
    if not drawn:
        raise InputError(f"no chosen row of {result.name} names a network to count or time")
    return drawn


def marks_of(rows: Sequence[PaperRow]) -> dict[str, RowMark]:
    """Return the mark of each row by its name.

    A family has one colour; other rows share that of their base, and have a number each.
    """
    kinds = unique([row.family or row.base or row.name for row in rows])
    colour = {kind: COLOURS[place % len(COLOURS)] for place, kind in enumerate(kinds)}
    marks = {}
    for place, row in enumerate(rows, 1):
        own = colour[row.family or row.base or row.name]
        if row.family:
            marks[row.name] = RowMark(row.size, own, row.family, lettered=True)
        else:
            marks[row.name] = RowMark(str(place), own, f"{place}  {row.label}", lettered=False)
    return marks


def draw(table: PaperTable, rows: Sequence[PaperRow], axes: Sequence[CostAxis]) -> alt.HConcatChart:
    """Draw one line of panels for each accuracy, and the names at the right."""
    marks = marks_of(rows)
    lines = []
    for column in accuracies(table):
        data = column.partition("_")[2]
        title = f"top-1{f' on {data}' if data else ''}, % (reported)"
        panels: list[alt.LayerChart] = []
        for axis in axes:
            values = points_of(rows, column, axis, marks)
            panels.append(_panel(values, axis.title, "" if panels else title))
        lines.append(alt.hconcat(*panels, spacing=24))
    names = unique([(mark.name, mark.colour) for mark in marks.values()])
    return alt.hconcat(alt.vconcat(*lines), _names(names), spacing=24)


def points_of(
    rows: Sequence[PaperRow], column: str, axis: CostAxis, marks: Mapping[str, RowMark]
) -> Values:
    """Return the dots of a panel: place, mark, and where the number stands."""
    points: Values = [
        {
            "name": row.label,
            "x": axis.values[row.name],
            "y": y,
            "text": marks[row.name].text,
            "colour": marks[row.name].colour,
            "family": row.family,
            "lettered": marks[row.name].lettered,
        }
        for row in rows
        if (y := as_number(row.reported.get(column, ""))) is not None and row.name in axis.values
    ]
    if points:
        _place_numbers([point for point in points if not point["lettered"]], *_scales(points))
    return points


@dataclass(frozen=True)
class AxisRange:
    """One direction of a panel: its ends, and whether it is logarithmic."""

    low: float
    high: float
    logarithmic: bool

    def share(self, value: float) -> float:
        low, high, place = (self._level(v) for v in (self.low, self.high, value))
        return (place - low) / (high - low)

    def value(self, share: float) -> float:
        level = self._level(self.low) + share * (self._level(self.high) - self._level(self.low))
        return math.exp(level) if self.logarithmic else level

    def scale(self) -> alt.Scale:
        kind: Literal["log", "linear"] = "log" if self.logarithmic else "linear"
        return alt.Scale(type=kind, domain=[self.low, self.high], nice=False, zero=False)

    def _level(self, value: float) -> float:
        return math.log(value) if self.logarithmic else value


def _scales(points: Values) -> tuple[AxisRange, AxisRange]:
    xs, ys = [p["x"] for p in points], [p["y"] for p in points]
    return _range(xs, 0.12, max(xs) > LOGARITHMIC * min(xs)), _range(ys, 0.09, False)


def _range(values: Sequence[float], margin: float, logarithmic: bool) -> AxisRange:
    """Return a range with room around the values, a share of it on either side."""
    low, high = min(values), max(values)
    if low == high:
        low, high = low - abs(low) * 0.1 - 1e-9, high + abs(high) * 0.1 + 1e-9
    tight = AxisRange(low, high, logarithmic)
    return AxisRange(tight.value(-margin), tight.value(1 + margin), logarithmic)


def _place_numbers(points: Values, x_range: AxisRange, y_range: AxisRange) -> None:
    """Put numbers at the right of their dots, those of neighbours one under the other."""
    columns: list[Values] = []
    for point in sorted(points, key=lambda p: (p["x"], p["y"])):
        if not columns or x_range.share(point["x"]) > x_range.share(columns[-1][-1]["x"]) + NEAR:
            columns.append([])
        columns[-1].append(point)
    gap = GAP / PANEL[1]
    for near in columns:
        x = x_range.value(x_range.share(near[-1]["x"]) + 0.04)
        heights = spread_out([y_range.share(p["y"]) for p in near], gap, gap, 1 - gap)
        for point, height in zip(near, heights, strict=True):
            point |= {"label_x": x, "label_y": y_range.value(height)}


def _panel(points: Values, x_title: str, y_title: str) -> alt.LayerChart:
    x_range, y_range = _scales(points) if points else (AxisRange(0, 1, False),) * 2
    x_axis = alt.Axis(tickCount=5, grid=not x_range.logarithmic)
    x = alt.X("x:Q", title=x_title, scale=x_range.scale(), axis=x_axis)
    y = alt.Y("y:Q", title=y_title or None, scale=y_range.scale(), axis=alt.Axis(tickCount=6))
    colour = alt.Color("colour:N", scale=None, legend=None)
    base = alt.Chart(alt.InlineData(values=points)).encode(x=x, y=y)
    tip = ["name:N", alt.Tooltip("x:Q", title=x_title), alt.Tooltip("y:Q", title="top-1, %")]
    lettered, numbered = (base.transform_filter(f"{no}datum.lettered") for no in ("", "!"))
    layers: list[alt.Chart] = [
        lettered.mark_line(strokeWidth=1.6).encode(color=colour, detail="family:N", order="x:Q"),
        numbered.mark_rule(color=LIGHT.soft, strokeWidth=0.5).encode(x2="label_x", y2="label_y"),
        numbered.mark_text(align="left", dx=1, fontSize=9, color=LIGHT.text).encode(
            x="label_x:Q", y="label_y:Q", text="text:N"
        ),
    ]
    for family in unique([p["family"] for p in points]):  # a dot hides the letters below it
        own = base.transform_filter(alt.datum.family == family)
        size = DOTS[bool(family)]
        dots = own.mark_circle(size=size, opacity=1, stroke=LIGHT.ground, strokeWidth=0.6)
        layers.append(dots.encode(color=colour, tooltip=tip))
        if family:
            layers.append(own.mark_text(fontSize=9, color=WHITE).encode(text="text:N"))
    return alt.LayerChart(layer=layers, width=PANEL[0], height=PANEL[1])


def _names(names: Sequence[tuple[str, str]]) -> alt.LayerChart:
    values = [{"name": n, "colour": colour, "y": y} for y, (n, colour) in enumerate(names)]
    width = 20 + LETTER * max(len(name) for name, _ in names)
    room = alt.Scale(domain=[-0.5, len(names) - 0.5], reverse=True, nice=False, zero=False)
    base = alt.Chart(alt.InlineData(values=values)).encode(y=alt.Y("y:Q", scale=room, axis=None))
    colour = alt.Color("colour:N", scale=None, legend=None)
    dots = base.mark_circle(size=60, opacity=1).encode(x=alt.value(6), color=colour)
    texts = base.mark_text(align="left", fontSize=11, color=LIGHT.text)
    words = texts.encode(x=alt.value(16), text="name:N")
    return alt.LayerChart(layer=[dots, words], width=width, height=STEP * len(names))


def _timed(result: PaperTableResult) -> CostAxis:
    """Return the ratio to the base, paired, times the base's median."""
    base_ms = {
        row.name: report.row(report.base).median_ms
        for report in result.latency
        for row in report.rows
    }
    times = {row.name: row.latency for row in result.rows if row.latency is not None}
    paired = {name: time.ratio * base_ms[name] for name, time in times.items()}
    return CostAxis("latency here, ms (paired)", paired)


def _printed(result: PaperTableResult) -> CostAxis:
    titles = {"latency": "latency, s/it (reported)", "fps": "images/s (reported)"}
    column = next((column for column in titles if column in result.units), "")
    found = {row.name: row.cell(column) for row in result.rows}
    read = {name: as_number(cell.reported) for name, cell in found.items() if cell is not None}
    return CostAxis(titles.get(column, ""), {k: v for k, v in read.items() if v is not None})
