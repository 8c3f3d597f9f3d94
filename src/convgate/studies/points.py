"""The points of the accuracy-latency picture, for the page and for the file alike."""

from collections.abc import Sequence
from dataclasses import dataclass

from convgate.charts import COLOURS, spread_out
from convgate.studies.grid import unique
from convgate.studies.result import StudyResult
from convgate.studies.summary import Row

BASE_COLOUR = "#808a94"

SHORT = 12
"""Characters of a label that leave a telephone's width enough room for the picture."""


@dataclass(frozen=True)
class Point:
    """A variant: latency in ms and accuracy in percent, each with the ends of its interval.

    Its name is its label where all labels are short, else its number in the table.

    The ends are those of the paired comparison with the base: of the latency ratio times the
    base's median, and of the paired difference around the mean. The base has neither.
    """

    label: str
    name: str
    colour: str
    x: float
    x_ends: tuple[float, float]
    y: float
    y_ends: tuple[float, float]
    on_front: bool


@dataclass(frozen=True)
class Frame:
    """The limits of the picture, and the heights at which the names stand."""

    x: tuple[float, float]
    y: tuple[float, float]
    names_y: tuple[float, ...]


def colours(rows: Sequence[Row]) -> list[str]:
    """Return a colour for each row: grey for a base, else one for each kind of gate."""
    gated = [row.variant for row in rows if not row.variant.is_base]
    kinds = unique([variant.kind for variant in gated])
    place = {kind: COLOURS[i % len(COLOURS)] for i, kind in enumerate(kinds)}
    return [BASE_COLOUR if r.variant.is_base else place[r.variant.kind] for r in rows]


def points_of(result: StudyResult) -> list[Point]:
    """Return a point for each variant that has both accuracy and latency."""
    dressed = zip(result.rows, names(result.rows), colours(result.rows), strict=True)
    return [
        _point(row, name, colour)
        for row, name, colour in dressed
        if row.facts and row.mean is not None
    ]


def names(rows: Sequence[Row]) -> list[str]:
    """Return what stands beside the points: labels, or numbers where a label is long."""
    labels = [row.label for row in rows]
    if max(map(len, labels)) <= SHORT:
        return labels
    return [str(number) for number in range(1, len(rows) + 1)]


def budget_ms(result: StudyResult) -> float | None:
    """Return the latency that the budget allows; None where several backbones have several."""
    bases = [row for row in result.rows if row.variant.is_base and row.facts]
    if len(bases) != 1 or bases[0].facts is None:
        return None
    return bases[0].facts.median_ms * result.budget


def frame(points: Sequence[Point], include_x: float | None, name_share: float) -> Frame:
    """Return limits that hold every error bar, and heights for the names at the right.

    No accuracy lies above 100 %, so a bar that reaches further is cut there.

    Args:
        points: What is drawn.
        include_x: Another x that must be inside.
        name_share: Height of one name as a share of the picture's.
    """
    xs = [end for p in points for end in p.x_ends] + ([include_x] if include_x else [])
    x, y = _padded(xs), percent_limits([end for p in points for end in p.y_ends])
    height = y[1] - y[0]
    rim = name_share * height / 2
    names = spread_out([p.y for p in points], name_share * height, y[0] + rim, y[1] - rim)
    return Frame(x, y, tuple(names))


def top1_ends(row: Row) -> tuple[float, float]:
    """Return the ends of the paired difference's interval, laid around the mean accuracy."""
    mean, d = row.mean, row.difference
    assert mean is not None
    if d is None or d.low is None or d.high is None:
        return mean, mean
    return mean + d.low - d.mean, mean + d.high - d.mean


def percent_limits(values: Sequence[float]) -> tuple[float, float]:
    """Return limits with some room around percentages, and none where none can be."""
    return _percents(_padded(values))


def front_line(points: Sequence[Point]) -> list[tuple[float, float]]:
    """Return the Pareto front as a line through its points, by latency."""
    return sorted((p.x, p.y) for p in points if p.on_front)


def _point(row: Row, name: str, colour: str) -> Point:
    facts, mean = row.facts, row.mean
    assert facts is not None and mean is not None
    base_ms = facts.paired_ms / facts.ratio
    x_ends = (base_ms * facts.ratio_low, base_ms * facts.ratio_high)
    y_ends = top1_ends(row)
    return Point(row.label, name, colour, facts.paired_ms, x_ends, mean, y_ends, row.on_front)


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = 0.08 * (high - low) or max(abs(high) * 0.05, 0.5)
    return low - pad, high + pad


def _percents(limits: tuple[float, float]) -> tuple[float, float]:
    """Cut limits at what a percentage can be, with room for a point on the edge."""
    low, high = max(limits[0], 0.0), min(limits[1], 100.0)
    rim = 0.02 * (high - low)
    return (low - rim if low == 0 else low), (high + rim if high == 100 else high)
