"""The accuracy-latency picture as a file: SVG and PNG."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from convgate.studies.points import Point, budget_ms, frame, front_line, points_of
from convgate.studies.result import StudyResult
from convgate.train.checkpoint import replacing
from convgate.view.figure import plain

STEM = "accuracy_latency"
INCHES = 7.2
NAME_INCHES = 0.24


def write_picture(result: StudyResult) -> list[str]:
    """Write accuracy_latency.svg and .png; return their names, none where nothing is measured."""
    points = points_of(result)
    if not points:
        return []
    drawn = draw(result, points)
    names = [f"{STEM}.{kind}" for kind in ("svg", "png")]
    for name in names:
        _save(drawn, result.out / name)
    return names


def draw(result: StudyResult, points: list[Point]) -> Figure:
    """Draw points with both intervals, the front, the budget, and names at the right."""
    height = max(4.2, NAME_INCHES * len(points) + 1.4)
    figure = Figure(figsize=(INCHES, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    limit = budget_ms(result)
    limits = frame(points, limit, NAME_INCHES / (height - 1.2))
    front = front_line(points)
    axes.plot(*zip(*front, strict=True), color="#808a94", lw=1, ls="--", zorder=1)
    if limit is not None:
        _budget_line(axes, limit, result.budget)
    right = blended_transform_factory(axes.transAxes, axes.transData)
    for point, name_y in zip(points, limits.names_y, strict=True):
        _mark(axes, point)
        axes.annotate(
            plain(point.label),
            (point.x, point.y),
            xytext=(1.03, name_y),
            textcoords=right,
            va="center",
            color=point.colour,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": point.colour,
                "lw": 0.6,
                "alpha": 0.6,
                "relpos": (0, 0.5),
            },
        )
    axes.set(xlim=limits.x, ylim=limits.y, xlabel="latency, ms", ylabel="top-1, %")
    axes.grid(color="#e3e6e8", lw=0.6)
    axes.set_axisbelow(True)
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


def _save(figure: Figure, path: Path) -> None:
    kind = path.suffix[1:]
    fixed = {"Date": None} if kind == "svg" else None
    with replacing(path) as file:
        figure.savefig(file, format=kind, dpi=160, metadata=fixed)
