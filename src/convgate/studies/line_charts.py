"""The line pictures of the report page: numbers over the epochs, accuracy over an option."""

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from convgate.studies.charts import axis, layout
from convgate.studies.points import percent_limits
from convgate.studies.result import StudyResult
from convgate.studies.series import Curve, Sweep, curves_of

DASHES = ("dash", "dot", "dashdot", "longdash", "longdashdot")


def curves(result: StudyResult, key: str, title: str) -> go.Figure | None:
    """Draw one number over the epochs: the mean over the seeds, and their range as a band."""
    found = curves_of(result, key)
    if not found:
        return None
    figure = go.Figure([trace for curve in found for trace in _curve(curve)])
    figure.update_layout(_under_a_legend(len(found)), xaxis=axis("epoch"), yaxis=axis(title))
    return figure


def option(name: str, sweeps: Sequence[Sweep]) -> go.Figure:
    """Draw accuracy over an option's values, with the base as a line across."""
    figure = go.Figure([_sweep(sweep) for sweep in sweeps])
    ends = [end for sweep in sweeps for both in sweep.ends for end in both]
    bases = {sweep.group: sweep.base for sweep in sweeps if sweep.base is not None}
    for (group, base), dash in zip(bases.items(), DASHES * len(bases), strict=False):
        figure.add_hline(base, line={"color": "#808a94", "width": 1, "dash": dash})
        figure.add_annotation(
            x=1, xref="paper", xanchor="right", y=base, yanchor="bottom", showarrow=False,
            text=escape("base" if len(bases) == 1 else group),
        )  # fmt: skip
    figure.update_layout(
        _under_a_legend(len(sweeps)),
        showlegend=True,
        xaxis=axis(name, type="category"),
        yaxis=axis("top-1, %", range=percent_limits([*ends, *bases.values()])),
    )
    return figure


def _curve(curve: Curve) -> list[go.Scatter]:
    name = escape(curve.label)
    line = go.Scatter(
        x=curve.epochs,
        y=curve.mean,
        name=name,
        legendgroup=name,
        mode="lines",
        line={"color": curve.colour, "width": 2},
    )
    if curve.seeds == 1:
        return [line]
    band = go.Scatter(
        x=[*curve.epochs, *reversed(curve.epochs)],
        y=[*curve.high, *reversed(curve.low)],
        fill="toself",
        fillcolor=curve.colour,
        opacity=0.15,
        line={"width": 0},
        legendgroup=name,
        showlegend=False,
        hoverinfo="skip",
    )
    return [band, line]


def _sweep(sweep: Sweep) -> go.Scatter:
    ends = list(zip(sweep.mean, sweep.ends, strict=True))
    return go.Scatter(
        x=sweep.values,
        y=sweep.mean,
        name=escape(sweep.label),
        mode="lines+markers",
        line={"color": sweep.colour, "width": 2},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [high - mean for mean, (_, high) in ends],
            "arrayminus": [mean - low for mean, (low, _) in ends],
            "thickness": 1.3,
            "width": 4,
        },
    )


def _under_a_legend(lines: int) -> dict[str, object]:
    return layout(
        height=400 + 24 * (lines // 3),
        margin={"l": 56, "r": 12, "t": 12, "b": 60},
        legend={"orientation": "h", "yanchor": "top", "y": -0.2, "x": 0},
    )
