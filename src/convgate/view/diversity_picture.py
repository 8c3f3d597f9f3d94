"""The picture of the feature distance over the blocks, networks overlaid."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from convgate.charts import COLOURS, Ink
from convgate.view.diversity import Curve
from convgate.view.figure import new_figure, plain, style_axes

INCHES = (7.2, 4.4)
LEGEND_INCHES = 0.24
MARKERS = "osD^vP"
NAME_CHARS = 90


def draw_diversity(curves: Sequence[Curve], ink: Ink) -> Figure:
    """Draw a line for each network; over the depth's share where the numbers of blocks differ."""
    names = [plain(f"{c.network.title}: {c.where}", NAME_CHARS) for c in curves]
    lines = sum(name.count("\n") + 1 for name in names)
    figure = new_figure(INCHES[0], INCHES[1] + LEGEND_INCHES * lines, ink)
    axes = figure.add_subplot()
    counts = {len(curve.distances) for curve in curves}
    for i, (curve, name) in enumerate(zip(curves, names, strict=True)):
        y = [found.distance for found in curve.distances.values()]
        axes.plot(
            _depths(len(y), shared=len(counts) == 1),
            y,
            label=name,
            color=COLOURS[i % len(COLOURS)],
            marker=MARKERS[i % len(MARKERS)],
            ms=4,
            lw=1.4,
        )
    _label(axes, counts)
    style_axes(axes, ink)
    figure.legend(loc="outside lower left", frameon=False, labelcolor=ink.text, fontsize=8)
    return figure


def _depths(count: int, *, shared: bool) -> list[float]:
    if shared:
        return [float(number) for number in range(1, count + 1)]
    return [number / count for number in range(1, count + 1)]


def _label(axes: Axes, counts: set[int]) -> None:
    axes.set(ylabel="mean feature cosine distance", ylim=(0, 0.52))
    if len(counts) > 1:
        axes.set(xlabel="depth: number of the block over all blocks", xlim=(0, 1.02))
        return
    count = next(iter(counts))
    axes.set(xlabel="block", xlim=(0.5, count + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
