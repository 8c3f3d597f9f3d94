"""The drawing of a study's figures, apart from what they show."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from convgate.charts import LIGHT, NEUTRAL, spread_out
from convgate.studies.grid import unique

BUDGET_COLOUR = "#d0584b"
NAME_PX = 18
"""Height of a name beside a figure."""
MIN_PX = 280
ROW_PX = 28
SIDES: tuple[tuple[Any, int], ...] = (("right", 2), ("left", -2))
"""Names of two lines that may be near: the first one's ends at its line, the other's begins."""
ROW_NAME_PX = 130
NAME_LIMIT = "windowSize()[0] < 600 ? 120 : 400"
"""Pixels of a name, by the width of the reader's window; a file has none and keeps all of it.

A name is cut at its start (`dir="rtl"`): its end tells gates and sites apart.
"""
POINTED = alt.selection_point(
    name="pointed", fields=["label"], on="pointerover", clear="pointerout"
)
STEPS = [mantissa * 10**power for power in range(6) for mantissa in (1, 2, 5)]
TOP1 = "top-1, %"

Values = dict[str, Any]


def draw_latency(
    points: Sequence[Values], budget: float, budget_ms: float | None
) -> alt.LayerChart:
    """Draw accuracy over latency with both intervals, the Pareto front and the budget."""
    limit = [] if budget_ms is None else [budget_ms]
    x_limits = _padded([e for p in points for e in (p["x_low"], p["x_high"])] + limit)
    y_limits = percent_limits([end for p in points for end in (p["y_low"], p["y_high"])])
    points = [
        p
        | _cut(p, y_limits, "y_low", "y_high")
        | {"fill": p["colour"] if p["on_front"] else LIGHT.ground}
        for p in points
    ]
    x = alt.X("x:Q", title="latency, ms", axis=alt.Axis(tickCount=4), scale=_scale(x_limits))
    y = alt.Y("y:Q", title=TOP1, scale=_scale(y_limits))
    front = sorted((p for p in points if p["on_front"]), key=lambda p: p["x"])
    dots = alt.Chart(_data(points)).encode(
        x=x, y=y, color=_own_colour(), opacity=_unless_another_is_pointed_at()
    )
    tooltip = [
        alt.Tooltip("label:N", title="gate"),
        alt.Tooltip("accuracy:N", title=TOP1),
        alt.Tooltip("difference:N"),
        alt.Tooltip("latency:N"),
        alt.Tooltip("ratio:N", title="latency ratio"),
    ]
    layers = [
        alt.Chart(_data(front))
        .mark_line(color=NEUTRAL, strokeDash=[6, 4], strokeWidth=1.2)
        .encode(x=x, y=y),
        *_budget_line(limit, budget),
        dots.mark_rule(strokeWidth=1.2, strokeOpacity=0.45).encode(
            x=alt.X("x_low:Q"), x2="x_high:Q"
        ),
        dots.mark_rule(strokeWidth=1.2, strokeOpacity=0.45).encode(
            y=alt.Y("y_low:Q"), y2="y_high:Q"
        ),
        dots.mark_point(size=90, strokeWidth=2, opacity=1).encode(
            fill=alt.Fill("fill:N", scale=None), tooltip=tooltip
        ),
    ]
    return _with_names(layers, points, x, y, y_limits)


def draw_intervals(
    points: Sequence[Values], title: str, lines: Mapping[str, float]
) -> alt.LayerChart:
    """Draw a row for each gate: a value with its interval, beside lines to compare it with."""
    ends = [end for p in points for end in (p["low"], p["high"])]
    limits = _padded([*ends, *lines.values()])
    marks = _data([{"x": x, "text": name} for name, x in lines.items()])
    x = alt.X("x:Q", title=title, axis=alt.Axis(tickCount=5), scale=_scale(limits))
    names = alt.Axis(title=None, ticks=False, domain=False, labelLimit=ROW_NAME_PX)
    y = alt.Y("label:N", sort=[p["label"] for p in points], axis=names)
    drawn = alt.Chart(_data(points)).encode(y=y, color=_own_colour())
    tooltip = [alt.Tooltip(f"{key}:Q", format=".4g") for key in ("low", "high")]
    layers = [
        alt.Chart(marks).mark_rule(color=NEUTRAL, strokeDash=[2, 3]).encode(x=x),
        *(
            alt.Chart(_data([{"x": place, "text": name}]))
            .mark_text(color=NEUTRAL, dy=-8, align=align, dx=dx)
            .encode(x=x, y=alt.value(0), text="text:N")
            for (name, place), (align, dx) in zip(lines.items(), SIDES, strict=False)
        ),
        drawn.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q"),
        drawn.mark_point(size=70, filled=True, opacity=1).encode(
            x=x, tooltip=["label:N", alt.Tooltip("x:Q", title=title, format=".4g"), *tooltip]
        ),
    ]
    return alt.LayerChart(layer=layers, width=460, height=max(80, ROW_PX * len(points)))


def draw_curves(lines: Sequence[Values], title: str) -> alt.LayerChart:
    """Draw one number over the epochs: the mean over the seeds, and their range as a band."""
    points = [point for line in lines for point in line["points"]]
    ends = [end for p in points for end in (p["low"], p["high"])]
    limits = percent_limits(ends) if title == TOP1 else _padded(ends)
    last = max(p["x"] for p in points)
    step = next(size for size in STEPS if last <= 10 * size)
    ticks = alt.Axis(values=sorted({1, *range(step, last + 1, step)}), format="d")
    x = alt.X("x:Q", title="epoch", axis=ticks, scale=_scale((min(1, last - 1), last)))
    y = alt.Y("y:Q", title=title, scale=_scale(limits))
    drawn = alt.Chart(_data(points)).encode(x=x, y=y, color=_own_colour(), detail="label:N")
    shown = drawn.encode(opacity=_unless_another_is_pointed_at())
    layers = [
        drawn.mark_area(opacity=0.08, strokeWidth=0).encode(
            y=alt.Y("low:Q"), y2="high:Q", fill=alt.Fill("colour:N", scale=None)
        ),
        shown.mark_line(strokeWidth=2),
        shown.mark_point(size=30, filled=True).encode(tooltip=_tooltip("epoch", title)),
    ]
    return _with_names(layers, [line["points"][-1] for line in lines], x, y, limits)


def draw_sweep(lines: Sequence[Values], option: str) -> alt.LayerChart:
    """Draw accuracy over an option's values, with the base as a line across."""
    points = [point for line in lines for point in line["points"]]
    names = [line["points"][-1] for line in lines]
    base = lines[0]["base"]
    known = [] if base is None else [base]
    limits = percent_limits([*known, *(end for p in points for end in (p["low"], p["high"]))])
    points = [p | _cut(p, limits, "low", "high") for p in points]
    values = unique([point["x"] for point in points])
    x = alt.X(
        "x:N",
        title=option,
        sort=values,
        axis=alt.Axis(labelAngle=0),
        scale=alt.Scale(type="point", padding=0.4),
    )
    y = alt.Y("y:Q", title=TOP1, scale=_scale(limits))
    layers: list[Any] = []
    if base is not None:
        names = [*names, {"label": "base", "colour": NEUTRAL, "x": values[-1], "y": base}]
        layers.append(
            alt.Chart(_data(names[-1:])).mark_rule(color=NEUTRAL, strokeDash=[6, 4]).encode(y=y)
        )
    drawn = alt.Chart(_data(points)).encode(
        x=x, y=y, color=_own_colour(), opacity=_unless_another_is_pointed_at()
    )
    layers += [
        drawn.mark_rule(strokeWidth=1.4).encode(y=alt.Y("low:Q"), y2="high:Q"),
        drawn.mark_line(strokeWidth=2).encode(detail="label:N"),
        drawn.mark_point(size=60, filled=True).encode(tooltip=_tooltip(option, TOP1)),
    ]
    return _with_names(layers, names, x, y, limits)


def _with_names(
    layers: Sequence[Any], ends: Sequence[Values], x: alt.X, y: alt.Y, limits: tuple[float, float]
) -> alt.LayerChart:
    """Write names at the right of a figure, none over another, with a thin line to each.

    They are its legend: the one pointed at, or its points, is shown alone.
    """
    height = max(MIN_PX, NAME_PX * len(ends) + 20)
    px = (limits[1] - limits[0]) / height
    rim = 0.5 * NAME_PX * px
    places = spread_out([e["y"] for e in ends], NAME_PX * px, limits[0] + rim, limits[1] - rim)
    named = [end | {"name_y": place} for end, place in zip(ends, places, strict=True)]
    names = alt.Chart(_data(named)).encode(color=_own_colour())
    edge = alt.value(alt.expr("width + 8"))
    layers = [
        names.mark_rule(strokeWidth=0.7, opacity=0.5).encode(x=x, y=y, x2=edge, y2="name_y:Q"),
        *layers,
        names.mark_text(align="left", dx=4, dir="rtl", limit=alt.expr(NAME_LIMIT))
        .encode(
            x=edge,
            y=alt.Y("name_y:Q", scale=_scale(limits)),
            text="label:N",
            opacity=_unless_another_is_pointed_at(),
        )
        .add_params(POINTED),
    ]
    return alt.LayerChart(layer=layers, width=460, height=height)


def _budget_line(limit: Sequence[float], budget: float) -> list[alt.Chart]:
    rows = [{"x": ms, "text": f"budget {budget:.2f}x"} for ms in limit]
    line = alt.Chart(_data(rows)).encode(x="x:Q")
    return [
        line.mark_rule(color=BUDGET_COLOUR, strokeDash=[2, 3]),
        line.mark_text(color=BUDGET_COLOUR, dy=-8).encode(y=alt.value(0), text="text:N"),
    ]


def _own_colour() -> alt.Color:
    return alt.Color("colour:N", scale=None)


def _unless_another_is_pointed_at() -> Any:
    return alt.when(POINTED).then(alt.value(1)).otherwise(alt.value(0.15))


def _tooltip(x: str, y: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("label:N", title="gate"),
        alt.Tooltip("x", type="nominal", title=x),
        alt.Tooltip("y:Q", title=y, format=".4g"),
        alt.Tooltip("low:Q", format=".4g"),
        alt.Tooltip("high:Q", format=".4g"),
    ]


def _scale(limits: tuple[float, float]) -> alt.Scale:
    return alt.Scale(domain=list(limits), zero=False, nice=False)


def _data(rows: Sequence[Mapping[str, Any]]) -> alt.InlineData:
    return alt.InlineData(values=list(rows))  # equal data is written once


def _cut(point: Values, limits: tuple[float, float], *keys: str) -> Values:
    """Cut the ends of an interval where the figure ends: no accuracy lies above 100 %."""
    return {key: min(max(point[key], limits[0]), limits[1]) for key in keys}


def percent_limits(values: Sequence[float]) -> tuple[float, float]:
    """Return limits with some room around percentages, and none where none can be."""
    padded = _padded(values)
    low, high = max(padded[0], 0.0), min(padded[1], 100.0)
    rim = 0.02 * (high - low)  # room for a point on the edge
    return (low - rim if low == 0 else low), (high + rim if high == 100 else high)


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = 0.08 * (high - low) or max(abs(high) * 0.05, 0.5)
    return low - pad, high + pad
