"""The pictures of the report page, which answer to the pointer."""

from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from convgate.studies.points import (
    Point,
    budget_ms,
    colours,
    frame,
    front_line,
    points_of,
)
from convgate.studies.result import StudyResult
from convgate.studies.summary import Row

FONT_PX = 12
NAME_PX = 18
CHAR_PX = 7
BUDGET_COLOUR = "#d0584b"
FRONT_COLOUR = "#808a94"


def accuracy_latency(result: StudyResult) -> go.Figure | None:
    """Draw accuracy over latency with both intervals, the Pareto front and the budget."""
    points = points_of(result)
    if not points:
        return None
    inner_px = max(340, NAME_PX * len(points) + 40)
    limit = budget_ms(result)
    limits = frame(points, limit, NAME_PX / inner_px)
    figure = go.Figure(_front(points))
    for point, name_y in zip(points, limits.names_y, strict=True):
        figure.add_trace(_mark(point))
        figure.add_annotation(_name(point, limits.x[1], name_y))
    if limit is not None:
        figure.add_vline(limit, line={"color": BUDGET_COLOUR, "width": 1, "dash": "dot"})
        note = f"budget {result.budget:.2f}x"
        figure.add_annotation(
            x=limit, y=1, yref="paper", yanchor="bottom", text=note, showarrow=False
        )
    room = 16 + CHAR_PX * max(len(point.name) for point in points)
    figure.update_layout(
        _layout(height=inner_px + 90, margin={"l": 56, "r": room, "t": 30, "b": 60}),
        showlegend=False,
        xaxis=_axis("latency, ms", range=limits.x),
        yaxis=_axis("top-1, %", range=limits.y),
    )
    return figure


def curves(result: StudyResult, key: str, title: str) -> go.Figure | None:
    """Draw one number over the epochs: the mean over the seeds, and their range as a band."""
    figure = go.Figure()
    for row, colour in zip(result.rows, colours(result.rows), strict=True):
        figure.add_traces(_curve(row, key, colour))
    if not figure.data:
        return None
    figure.update_layout(
        _layout(
            height=400 + 24 * (len(result.rows) // 3), margin={"l": 56, "r": 12, "t": 12, "b": 60}
        ),
        xaxis=_axis("epoch"),
        yaxis=_axis(title),
        legend={"orientation": "h", "yanchor": "top", "y": -0.2, "x": 0},
    )
    return figure


def _curve(row: Row, key: str, colour: str) -> list[go.Scatter]:
    runs = [epochs for epochs in row.curves.values() if epochs]
    if not runs:
        return []
    x = [epoch["epoch"] for epoch in runs[0]]
    columns = [[run[i][key] for run in runs if i < len(run)] for i in range(len(x))]
    mean = [sum(column) / len(column) for column in columns]
    name = escape(row.label)
    line = go.Scatter(
        x=x, y=mean, name=name, legendgroup=name, mode="lines", line={"color": colour, "width": 2}
    )
    if len(runs) == 1:
        return [line]
    edge = [*map(max, columns), *reversed([*map(min, columns)])]
    band = go.Scatter(
        x=[*x, *reversed(x)],
        y=edge,
        fill="toself",
        fillcolor=colour,
        opacity=0.15,
        line={"width": 0},
        legendgroup=name,
        showlegend=False,
        hoverinfo="skip",
    )
    return [band, line]


def _front(points: Sequence[Point]) -> go.Scatter:
    line = front_line(points)
    return go.Scatter(
        x=[x for x, _ in line],
        y=[y for _, y in line],
        mode="lines",
        line={"color": FRONT_COLOUR, "width": 1.5, "dash": "dash"},
        hoverinfo="skip",
    )


def _mark(point: Point) -> go.Scatter:
    text = f"<b>{escape(point.label)}</b><br>{point.y:.2f} %, {point.x:.3g} ms"
    return go.Scatter(
        x=[point.x],
        y=[point.y],
        error_x=_bar(point.x, point.x_ends),
        error_y=_bar(point.y, point.y_ends),
        mode="markers",
        marker={
            "size": 10,
            "color": point.colour,
            "symbol": "circle" if point.on_front else "circle-open",
            "line": {"width": 2, "color": point.colour},
        },
        hovertemplate=f"{text}<extra></extra>",
    )


def _bar(middle: float, ends: tuple[float, float]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [ends[1] - middle],
        "arrayminus": [middle - ends[0]],
        "thickness": 1.3,
        "width": 4,
    }


def _name(point: Point, x: float, y: float) -> dict[str, Any]:
    return {
        "text": escape(point.name),
        "x": point.x,
        "y": point.y,
        "ax": x,
        "ay": y,
        "axref": "x",
        "ayref": "y",
        "xanchor": "left",
        "showarrow": True,
        "arrowhead": 0,
        "arrowwidth": 0.8,
        "arrowcolor": point.colour,
        "standoff": 6,
    }


def _axis(title: str, **more: Any) -> dict[str, Any]:
    return {"title": title, "fixedrange": True, "zeroline": False, "automargin": True} | more


def _layout(**more: Any) -> dict[str, Any]:
    """Transparent, so that the page's light or dark ground shows; its style colours the text."""
    return {
        "template": "none",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"size": FONT_PX, "family": "system-ui, sans-serif"},
        "dragmode": False,
        "hovermode": "closest",
    } | more
