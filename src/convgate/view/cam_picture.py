"""The picture of class activation maps: photographs in rows, networks or layers in columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from convgate.charts import Ink
from convgate.view.figure import new_figure, plain

CELL_INCHES = 1.7
LINE_INCHES = 0.17
CHARS = 26
"""Characters of the small print that fit the width of a cell."""
HEAT = "turbo"
HEAT_SHARE = 0.5


@dataclass(frozen=True)
class Cell:
    """One map over its photograph.

    Args:
        pixels: The photograph as the network saw it, RGB uint8 (3, H, W).
        heat: (H, W) in 0 .. 1; None for the photograph alone.
        caption: What stands below.
    """

    pixels: Tensor
    heat: Tensor | None
    caption: str = ""


def draw_maps(
    columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Cell]]], note: str, ink: Ink
) -> Figure:
    """Draw a grid of cells.

    Args:
        columns: What stands above each column.
        rows: What stands left of each row, and its cells, one a column.
        note: What stands below the whole.
        ink: The colours.
    """
    heads = [plain(column, CHARS) for column in columns]
    head_lines = max(head.count("\n") + 1 for head in heads)
    captions = [cell.caption.count("\n") + 1 for _, cells in rows for cell in cells]
    small = LINE_INCHES * (head_lines + 2 + max(captions) * len(rows))
    size = (CELL_INCHES * len(columns) + 0.4, CELL_INCHES * len(rows) + small)
    figure = new_figure(*size, ink)
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    for line, (name, cells) in zip(grid, rows, strict=True):
        for axes, cell in zip(line, cells, strict=True):
            _draw(axes, cell, ink)
        line[0].set_ylabel(plain(name, CHARS), fontsize=7, color=ink.text)
    for axes, head in zip(grid[0], heads, strict=True):
        axes.set_title(head, fontsize=7.5, color=ink.text)
    width = max(CHARS, int(CHARS * len(columns) * 1.05))
    figure.supxlabel(plain(note, width), fontsize=7, color=ink.soft, x=0.01, ha="left")
    return figure


def short(name: str) -> str:
    """Cut a name at a word, to what a caption holds beside a percentage."""
    return name if len(name) <= CHARS - 8 else shorten(name, CHARS - 8, placeholder="…") or name


def _draw(axes: Axes, cell: Cell, ink: Ink) -> None:
    photograph = cell.pixels.permute(1, 2, 0).numpy() / 255
    if cell.heat is not None:
        colours = matplotlib.colormaps[HEAT](cell.heat.numpy())[..., :3]
        photograph = (1 - HEAT_SHARE) * photograph + HEAT_SHARE * colours
    axes.imshow(photograph)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color(ink.line)
    axes.set_xlabel(plain(cell.caption), fontsize=7, color=ink.text)
