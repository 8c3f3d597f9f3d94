"""The figures of a study, each drawn once: the page and the files show the same specification."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import altair as alt

from convgate.charts import COLOURS, NEUTRAL
from convgate.studies.drawings import (
    TOP1,
    Values,
    draw_curves,
    draw_intervals,
    draw_latency,
    draw_sweep,
)
from convgate.studies.grid import Variant, slug, unique
from convgate.studies.result import StudyResult
from convgate.studies.statistics import VariantRow
from convgate.studies.tables import variant_table


@dataclass(frozen=True)
class StudyFigure:
    """A figure of the report."""

    stem: str  # name of its files
    title: str  # what it shows
    hint: str  # how to read it
    chart: alt.LayerChart  # its drawing


def figures_of(result: StudyResult) -> list[StudyFigure]:
    """Return the figures of what a study has: latency, options that are swept, epochs."""
    figures = []
    if points := latency_points(result):
        chart = draw_latency(points, result.budget, budget_ms(result))
        figures.append(StudyFigure("accuracy_latency", "Accuracy and latency", INTERVALS, chart))
    if gains := differences(result):
        chart = draw_intervals(gains, "difference, points", {"base": 0.0})
        figures.append(StudyFigure("difference", "Difference to the base", RIGHT, chart))
    if ratios := latency_ratios(result):
        marks = {"base": 1.0, f"budget {result.budget:.2f}x": result.budget}
        chart = draw_intervals(ratios, "latency ratio", marks)
        figures.append(StudyFigure("latency_ratio", "Latency over the base's", LEFT, chart))
    for option, lines in sweeps_of(result).items():
        title = f"Accuracy over {option}"
        figures += [
            StudyFigure(slug(option + suffix), title + of, VALUES, draw_sweep(mine, option))
            for mine, suffix, of in _by_group(lines)
        ]
    for key, stem, title, y in (
        ("top1", "curves", "Validation accuracy while training", TOP1),
        ("train_loss", "loss", "Training loss", "loss"),
    ):
        figures += [
            StudyFigure(slug(stem + suffix), title + of, BANDS, draw_curves(mine, y))
            for mine, suffix, of in _by_group(curves_of(result, key))
        ]
    return figures


INTERVALS = (
    "Bars are the 95 % intervals of the paired comparison with the base. Filled points lie on the"
    " Pareto front (dashed). The dotted line is the latency budget."
)
RIGHT = "A gate shows a gain where its whole 95 % interval lies right of the base."
LEFT = "A gate is within the budget where its whole 95 % interval lies left of the budget."
VALUES = "Bars are the 95 % intervals of the paired difference to the base."
BANDS = "Lines are means over the seeds, bands their range."


def latency_points(result: StudyResult) -> list[Values]:
    """Return a point for each variant that has both accuracy and latency.

    The ends are those of the paired comparison with the base: of the latency ratio times the
    base's median, and of the paired difference around the mean. The base has neither.
    """
    table = variant_table(result.rows, result.budget)
    points = []
    for row, colour, cells in zip(result.rows, colours(result.rows), table.rows, strict=True):
        if row.cost is None or row.mean is None:
            continue
        base_ms = row.cost.paired_ms / row.cost.ratio
        low, high = top1_ends(row)
        shown = dict(zip(table.head, cells, strict=True))
        points.append(
            {
                "label": row.label,
                "colour": colour,
                "on_front": row.on_front,
                "x": row.cost.paired_ms,
                "x_low": base_ms * row.cost.ratio_low,
                "x_high": base_ms * row.cost.ratio_high,
                "y": row.mean,
                "y_low": low,
                "y_high": high,
                "accuracy": shown[TOP1],
                "difference": shown["difference, points"],
                "latency": f"{row.cost.paired_ms:.3g} ms",
                "ratio": shown["latency ratio"],
            }
        )
    return points


def differences(result: StudyResult) -> list[Values]:
    """Return the paired difference of each gate, with its interval where it has one."""
    points = []
    for row, colour in _coloured(result):
        if (d := row.difference) is not None:
            ends = (d.mean, d.mean) if d.low is None or d.high is None else (d.low, d.high)
            points.append(_interval(row, colour, d.mean, *ends))
    return points


def latency_ratios(result: StudyResult) -> list[Values]:
    """Return the latency ratio of each gate, with its interval."""
    return [
        _interval(row, colour, row.cost.ratio, row.cost.ratio_low, row.cost.ratio_high)
        for row, colour in _coloured(result)
        if row.cost is not None and not row.variant.is_base
    ]


def _coloured(result: StudyResult) -> Iterable[tuple[VariantRow, str]]:
    return zip(result.rows, colours(result.rows), strict=True)


def _interval(row: VariantRow, colour: str, x: float, low: float, high: float) -> Values:
    return {"label": row.label, "colour": colour, "x": x, "low": low, "high": high}


def curves_of(result: StudyResult, key: str) -> list[Values]:
    """Return one number over the epochs for each variant: the seeds' mean, and their range."""
    curves = []
    for row, colour in _coloured(result):
        runs = [epochs for epochs in row.curves.values() if epochs]
        if not runs:
            continue
        longest = max(runs, key=lambda epochs: len(epochs))
        points = []
        for i, epoch in enumerate(longest):
            values = [run[i][key] for run in runs if i < len(run)]
            mean = sum(values) / len(values)
            points.append({"x": epoch["epoch"], "y": mean, "low": min(values), "high": max(values)})
        curves.append(_line(row.label_in_group, row.variant.group, colour, points))
    return curves


def sweeps_of(result: StudyResult) -> dict[str, list[Values]]:
    """Return the lines over each option that the study sweeps, the base's among them."""
    lines: dict[tuple[str, Variant], list[VariantRow]] = {}
    for row in result.rows:
        if row.variant.setting and row.mean is not None:
            option = row.variant.setting.partition("=")[0]
            lines.setdefault((option, replace(row.variant, setting="")), []).append(row)
    bases = {row.variant.group: row.mean for row in result.rows if row.variant.is_base}
    found: dict[str, list[Values]] = {}
    for place, ((option, variant), rows) in enumerate(lines.items()):
        points = [_sweep_point(row) for row in sorted(rows, key=_magnitude)]
        line = _line(variant.label, variant.group, COLOURS[place % len(COLOURS)], points)
        found.setdefault(option, []).append(line | {"base": bases.get(variant.group)})
    return found


def _line(label: str, group: str, colour: str, points: list[Values]) -> Values:
    own = {"label": label, "colour": colour}
    return own | {"group": group, "points": [point | own for point in points]}


def _sweep_point(row: VariantRow) -> Values:
    low, high = top1_ends(row)
    value = row.variant.setting.partition("=")[2]
    return {"x": value, "y": row.mean, "low": low, "high": high}


def _magnitude(row: VariantRow) -> float:
    """Order numbers by size, and leave words in the order in which they were given."""
    try:
        return float(row.variant.setting.partition("=")[2])
    except ValueError:
        return 0.0


def _by_group(lines: Sequence[Values]) -> list[tuple[list[Values], str, str]]:
    """Part lines by what they are compared in, with the ends of a file name and a title."""
    groups = unique([line["group"] for line in lines])
    several = len(groups) > 1
    return [
        (
            [line for line in lines if line["group"] == group],
            f"_{group}" if several else "",
            f": {group}" if several else "",
        )
        for group in groups
    ]


def colours(rows: Sequence[VariantRow]) -> list[str]:
    """Return a colour for each row: grey for a base, else one for each kind of gate."""
    gated = [row.variant for row in rows if not row.variant.is_base]
    kinds = unique([variant.kind for variant in gated])
    place = {kind: COLOURS[i % len(COLOURS)] for i, kind in enumerate(kinds)}
    return [NEUTRAL if r.variant.is_base else place[r.variant.kind] for r in rows]


def top1_ends(row: VariantRow) -> tuple[float, float]:
    """Return the ends of the paired difference's interval, laid around the mean accuracy."""
    mean, d = row.mean, row.difference
    assert mean is not None
    if d is None or d.low is None or d.high is None:
        return mean, mean
    return mean + d.low - d.mean, mean + d.high - d.mean


def budget_ms(result: StudyResult) -> float | None:
    """Return the latency that the budget allows; None where several bases have several."""
    bases = [row.cost for row in result.rows if row.variant.is_base and row.cost]
    return bases[0].median_ms * result.budget if len(bases) == 1 else None
