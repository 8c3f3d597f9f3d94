"""What the picture files have in common: the canvas, names at the right, saving."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from convgate.charts import LIGHT
from convgate.view.figure import new_figure, plain, style_axes, write_figure

INCHES = 7.2
NAME_INCHES = 0.24
GREY = "#808a94"


def canvas(heights: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """Return a figure with one picture above the other, of these heights in inches."""
    figure = new_figure(INCHES, sum(heights), LIGHT)
    grid: Any = figure.subplots(len(heights), squeeze=False, height_ratios=heights)
    pictures = [row[0] for row in grid]
    for axes in pictures:
        style_axes(axes, LIGHT)
    return figure, pictures


def name_at_right(
    axes: Axes, label: str, point: tuple[float, float], name_y: float, colour: str
) -> None:
    """Write a name beside the picture, with a thin line to its point."""
    axes.annotate(
        plain(label),
        point,
        xytext=(1.03, name_y),
        textcoords=blended_transform_factory(axes.transAxes, axes.transData),
        va="center",
        color=colour,
        annotation_clip=False,
        arrowprops={
            "arrowstyle": "-",
            "color": colour,
            "lw": 0.6,
            "alpha": 0.6,
            "relpos": (0, 0.5),
        },
    )


def save(figure: Figure, folder: Path, stem: str) -> list[str]:
    """Write STEM.svg and STEM.png; return their names."""
    names = [f"{stem}.{kind}" for kind in ("svg", "png")]
    for name in names:
        write_figure(figure, folder / name)
    return names
