"""A picture's colours on a light and on a dark ground; an SVG follows its reader's choice."""

from matplotlib.axes import Axes

GROUND = "#ffffff"
INK = "#1d2329"
LINE = "#e3e6e8"
DARK = {GROUND: "#14181c", INK: "#e6eaee", LINE: "#333c44"}


def dress(axes: Axes) -> None:
    """Give axes the colours that `follow_reader` knows, and a grid behind the data."""
    axes.set_facecolor(GROUND)
    axes.grid(color=LINE, lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_color(INK)
    for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
        text.set_color(INK)


def follow_reader(svg: str) -> str:
    """Return a picture of matplotlib's with a style that swaps its colours where dark is asked for.

    Text stays text's colour and a line a line's: what has one of the known colours gets the
    other one, whether it is a fill or a stroke.
    """
    rules = [
        f'[style*="{part}: {light}"]{{{part}:{dark}!important}}'
        for light, dark in DARK.items()
        for part in ("fill", "stroke")
    ]
    style = f"<style>@media (prefers-color-scheme:dark){{{''.join(rules)}}}</style>"
    head, start, rest = svg.partition("<defs>")
    return f"{head}{style}{start}{rest}"
