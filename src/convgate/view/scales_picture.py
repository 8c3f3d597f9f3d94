"""The picture of channel scales: a row for each layer, before and after its activation."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from convgate.charts import COLOURS, Ink
from convgate.errors import unknown
from convgate.view.figure import new_figure, plain, style_axes
from convgate.view.scales import LayerScales

WIDTH_INCHES = 7.2
ROW_INCHES = 1.75
MOST_ROWS = 4
NOTE = (
    "dots: mean over the pictures; bars: range over pictures and positions; "
    "red: dead, ochre: saturated"
)
DEAD_COLOUR, SATURATED_COLOUR = COLOURS[1], COLOURS[3]


def choose_layers(layers: Sequence[LayerScales], names: Sequence[str] = ()) -> list[LayerScales]:
    """Return the layers that match, or at most four at even steps from the first to the last.

    Args:
        layers: All of them.
        names: Gates' paths; ``*`` and ``?`` match as in a shell.

    Raises:
        InputError: for a layer that has no gate (with the nearest).
    """
    for name in names:
        if not any(fnmatchcase(layer.layer, name) for layer in layers):
            raise unknown("gated layer", name, [layer.layer for layer in layers])
    if names:
        return [layer for layer in layers if any(fnmatchcase(layer.layer, n) for n in names)]
    if len(layers) <= MOST_ROWS:
        return list(layers)
    steps = MOST_ROWS - 1
    return [layers[i * (len(layers) - 1) // steps] for i in range(MOST_ROWS)]


def draw_scales(layers: Sequence[LayerScales], title: str, ink: Ink) -> Figure:
    """Draw each channel's mean over the pictures; after the activation also its whole range."""
    figure = new_figure(WIDTH_INCHES, ROW_INCHES * len(layers) + 0.9, ink)
    grid = figure.subplots(len(layers), 2, squeeze=False, sharex="row")
    for (left, right), layer in zip(grid, layers, strict=True):
        style_axes(left, ink)
        style_axes(right, ink)
        kind = layer.kind.name if layer.kind else "no activation"
        left.set_title(plain(layer.layer, 48), fontsize=8, loc="left", color=ink.text)
        right.set_title(f"after ({kind})", fontsize=8, loc="left", color=ink.text)
        left.set_ylabel("before", fontsize=8)
        right.set_ylabel("scale", fontsize=8)
        colours = _colours(layer)
        _dots(left, layer.mean_before, colours)
        _ranges(right, layer)
        _dots(right, layer.mean_after, colours)
    for axes in grid[-1]:
        axes.set_xlabel("channel", fontsize=8)
    figure.supxlabel(NOTE, fontsize=7, color=ink.soft, x=0.01, ha="left")
    figure.suptitle(plain(title, 90), fontsize=9, color=ink.text, x=0.01, ha="left")
    return figure


def _colours(layer: LayerScales) -> list[str]:
    pairs = zip(layer.dead.tolist(), layer.saturated.tolist(), strict=True)
    return [DEAD_COLOUR if d else SATURATED_COLOUR if s else COLOURS[0] for d, s in pairs]


def _dots(axes: Axes, values: Tensor, colours: list[str]) -> None:
    size = max(2.0, min(12.0, 1200 / len(colours)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.scatter(range(len(colours)), values.tolist(), s=size, c=colours, lw=0, zorder=3)


def _ranges(axes: Axes, layer: LayerScales) -> None:
    axes.vlines(
        range(layer.channels),
        layer.lowest.tolist(),
        layer.highest.tolist(),
        color=COLOURS[0],
        alpha=0.35,
        lw=max(0.5, min(2.0, 200 / layer.channels)),
    )
