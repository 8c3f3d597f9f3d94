"""The accuracy-latency picture as a file: SVG and PNG."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from convgate.studies.canvas import GREY, NAME_INCHES, canvas, name_at_right, save
from convgate.studies.points import Point, budget_ms, frame, front_line, points_of
from convgate.studies.result import StudyResult

STEM = "accuracy_latency"


def write_picture(result: StudyResult) -> list[str]:
    """Write accuracy_latency.svg and .png; return their names, none where nothing is measured."""
    points = points_of(result)
    return save(draw(result, points), result.out, STEM) if points else []


def draw(result: StudyResult, points: list[Point]) -> Figure:
    """Draw points with both intervals, the front, the budget, and names at the right."""
    height = max(4.2, NAME_INCHES * len(points) + 1.4)
    figure, (axes,) = canvas([height])
    limit = budget_ms(result)
    limits = frame(points, limit, NAME_INCHES / (height - 1.2))
    front = front_line(points)
    axes.plot(*zip(*front, strict=True), color=GREY, lw=1, ls="--", zorder=1)
    if limit is not None:
        _budget_line(axes, limit, result.budget)
    for point, name_y in zip(points, limits.names_y, strict=True):
        _mark(axes, point)
        name_at_right(axes, point.label, (point.x, point.y), name_y, point.colour)
    axes.set(xlim=limits.x, ylim=limits.y, xlabel="latency, ms", ylabel="top-1, %")
    return figure


def _budget_line(axes: Axes, x: float, budget: float) -> None:
    axes.axvline(x, color="#c0392b", lw=1, ls=":", zorder=0)
    where = blended_transform_factory(axes.transData, axes.transAxes)
    axes.text(x, 1.01, f"budget {budget:.2f}x", transform=where, ha="center", color="#c0392b")


def _mark(axes: Axes, point: Point) -> None:
    axes.errorbar(
        point.x,
        point.y,
        xerr=[[point.x - point.x_ends[0]], [point.x_ends[1] - point.x]],
        yerr=[[point.y - point.y_ends[0]], [point.y_ends[1] - point.y]],
        fmt="o",
        color=point.colour,
        mfc=point.colour if point.on_front else "white",
        capsize=2,
        lw=1.2,
        ms=6,
    )
