"""The pictures of the report page, which answer to the pointer."""

from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from convgate.studies.points import (
    Point,
    budget_ms,
    frame,
    front_line,
    points_of,
)
from convgate.studies.result import StudyResult

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
        layout(height=inner_px + 90, margin={"l": 56, "r": room, "t": 30, "b": 60}),
        showlegend=False,
        xaxis=axis("latency, ms", range=limits.x),
        yaxis=axis("top-1, %", range=limits.y),
    )
    return figure


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


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return an axis that stays where it is."""
    return {"title": title, "fixedrange": True, "zeroline": False, "automargin": True} | more


def layout(**more: Any) -> dict[str, Any]:
    """Return what is transparent: the page's light or dark ground shows, its style colours text."""
    return {
        "template": "none",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"size": FONT_PX, "family": "system-ui, sans-serif"},
        "dragmode": False,
        "hovermode": "closest",
    } | more
