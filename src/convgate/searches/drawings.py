"""The drawing of a search's figures: the network with its gates, and latency stage by stage."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from convgate.charts import COLOURS, LIGHT, NEUTRAL
from convgate.searches.latency import LatencyModel
from convgate.searches.proposals import Proposal
from convgate.searches.space import Combination, Space
from convgate.studies.grid import BASE
from convgate.studies.statistics import pareto_front

Values = dict[str, Any]
ROW_PX, STAGE_PX = 34, 108
GATES = alt.Tooltip("label:N", title="gates")
PREDICTED = alt.Tooltip("x:Q", title="predicted ratio", format=".3f")


def colours(space: Space) -> dict[str, str]:
    """Return the colour of each gate, the same in all figures."""
    return {gate: COLOURS[i % len(COLOURS)] for i, gate in enumerate(space.gates)}


def draw_network(space: Space, rows: Mapping[str, Combination]) -> alt.LayerChart:
    """Draw a network from left to right, one box a stage, once for each combination of gates."""
    known = colours(space) | {BASE: LIGHT.line}
    boxes = [
        {
            "network": name,
            "stage": stage_title(space, stage),
            "gate": gate,
            "colour": known[gate],
            "ink": LIGHT.soft if gate == BASE else LIGHT.ground,
        }
        for name, combination in rows.items()
        for stage, gate in zip(space.stages, combination, strict=True)
    ]
    titles = [stage_title(space, stage) for stage in space.stages]
    lines = "split(datum.label, '|')"
    axis = alt.Axis(orient="top", title=None, labelAngle=0, labelExpr=lines, ticks=False)
    drawn = alt.Chart(alt.InlineData(values=boxes)).encode(
        x=alt.X("stage:N", sort=titles, axis=axis),
        y=alt.Y("network:N", sort=list(rows), axis=alt.Axis(title=None, labelLimit=240)),
    )
    layers = [
        drawn.mark_rect(cornerRadius=4, stroke=LIGHT.ground, strokeWidth=4).encode(
            color=alt.Color("colour:N", scale=None)
        ),
        drawn.mark_text().encode(text="gate:N", color=alt.Color("ink:N", scale=None)),
    ]
    width, height = STAGE_PX * len(titles), ROW_PX * len(rows)
    return alt.LayerChart(layer=layers, width=width, height=height)


def stage_title(space: Space, stage: int) -> str:
    """Return two lines, parted by "|": the stage; how many sites it has, and their channels."""
    count, channels = space.sites[stage]
    return f"stage {stage}|{count} x {channels}"


def draw_singles(latency: LatencyModel) -> alt.LayerChart:
    """Draw what each gate costs alone in each stage, with its interval."""
    space = latency.space
    known = colours(space)
    points: list[Values] = []
    for combination, found in latency.singles.items():
        gate = next(g for g in combination if g != BASE)
        stage = space.stages[combination.index(gate)]
        points.append(
            {
                "label": f"stage {stage} {gate}",
                "colour": known[gate],
                "ratio": found.ratio,
                "low": found.low,
                "high": found.high,
            }
        )
    names = alt.Y("label:N", sort=[p["label"] for p in points], axis=alt.Axis(title=None))
    x = alt.X("ratio:Q", title="latency ratio to the plain network", scale=alt.Scale(zero=False))
    tooltip = [GATES, alt.Tooltip("ratio:Q", format=".3f")]
    drawn = alt.Chart(alt.InlineData(values=points)).encode(
        y=names, color=alt.Color("colour:N", scale=None)
    )
    layers = [
        drawn.mark_rule(strokeWidth=1.4).encode(x=alt.X("low:Q"), x2="high:Q"),
        drawn.mark_point(filled=True, size=60).encode(x=x, tooltip=tooltip),
    ]
    return alt.LayerChart(layer=layers, width=460, height=max(80, 18 * len(points)))


def draw_proposals(
    space: Space, proposals: Sequence[Proposal], finalists: Sequence[Combination]
) -> alt.LayerChart:
    """Draw the score of everything that was looked at over its predicted latency."""
    front = set(pareto_front([(p.predicted, p.score) for p in proposals]))
    points: list[Values] = [
        {
            "label": space.label(p.combination),
            "x": p.predicted,
            "score": p.score,
            "colour": COLOURS[0] if p.combination in finalists else NEUTRAL,
            "fill": COLOURS[0] if p.combination in finalists else LIGHT.ground,
        }
        for p in proposals
    ]
    line = sorted((points[i] for i in front), key=lambda p: p["x"])
    x = alt.X("x:Q", title="predicted latency ratio", scale=alt.Scale(zero=False))
    y = alt.Y("score:Q", title="minus the held-out loss of the path", scale=alt.Scale(zero=False))
    layers = [
        alt.Chart(alt.InlineData(values=line))
        .mark_line(color=NEUTRAL, strokeDash=[6, 4], strokeWidth=1.2)
        .encode(x=x, y=y),
        alt.Chart(alt.InlineData(values=points))
        .mark_point(size=60)
        .encode(
            x=x,
            y=y,
            color=alt.Color("colour:N", scale=None),
            fill=alt.Fill("fill:N", scale=None),
            tooltip=[GATES, alt.Tooltip("score:Q", format=".4f"), PREDICTED],
        ),
    ]
    return alt.LayerChart(layer=layers, width=460, height=280)
