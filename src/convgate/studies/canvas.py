"""What the picture files have in common: the canvas, names at the right, saving."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from convgate.train.checkpoint import replacing

INCHES = 7.2
NAME_INCHES = 0.24
GREY = "#808a94"


def canvas(heights: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """Return a figure with one picture above the other, of these heights in inches."""
    figure = Figure(figsize=(INCHES, sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    grid: Any = figure.subplots(len(heights), squeeze=False, height_ratios=heights)
    pictures = [row[0] for row in grid]
    for axes in pictures:
        axes.grid(color="#e3e6e8", lw=0.6)
        axes.set_axisbelow(True)
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


def plain(label: str) -> str:
    """Return a label that matplotlib does not read as mathematics."""
    return label.replace("$", r"\$")


def save(figure: Figure, folder: Path, stem: str) -> list[str]:
    """Write STEM.svg and STEM.png; return their names."""
    names = [f"{stem}.{kind}" for kind in ("svg", "png")]
    for name in names:
        kind = name.rpartition(".")[2]
        fixed = {"Date": None} if kind == "svg" else None
        with replacing(folder / name) as file:
            figure.savefig(file, format=kind, dpi=160, metadata=fixed)
    return names
