"""Charts: one Altair specification gives the page, the SVG, the PNG and the PDF, without a browser.

A chart is drawn in the colours of ``LIGHT`` and ``COLOURS``. The dark form exchanges the first
and keeps the second, in a file by ``dark=True`` and for a reader by a media query in CSS.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import vl_convert
from scipy.optimize import isotonic_regression

from convgate.errors import unknown
from convgate.storage import check_free, replacing

COLOURS = (  # readable on white and on near-black alike
    "#3f7fd6", "#d9534f", "#2e9e5b", "#b8860b", "#9b59b6", "#1aa6a6", "#d6619e", "#8a6d4b",
    "#6b7fd7", "#7a9a01",
)  # fmt: skip
NEUTRAL = "#808a94"
"""Colour of what is compared with, and of lines that mark a place."""

KINDS = ("svg", "png", "pdf")
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"  # the first is part of vl-convert
SCALE = 2
"""Pixels of a PNG for each pixel of a chart."""


@dataclass(frozen=True)
class Ink:
    """The colours of a scheme that change between light and dark."""

    ground: str
    text: str
    soft: str
    line: str


LIGHT = Ink("#ffffff", "#1d2329", "#5b6670", "#dde2e6")
DARK = Ink("#14181c", "#e6eaee", "#a3afb9", "#333c44")


class Chart(Protocol):
    """What every chart of Altair is: layers, concatenations and single views alike."""

    def to_dict(self) -> dict[str, Any]: ...


def check_chart_path(path: Path, *, force: bool = False) -> None:
    """Refuse a file that no chart can be written to, before the work for it is done.

    Raises:
        InputError: for another kind of file than ``KINDS``, a folder that does not exist, or a
            file that stands there, unless ``force`` allows to replace it.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind not in KINDS:
        raise unknown("kind of picture", kind or str(path), KINDS)
    check_free(path, force)


def write_chart(chart: Chart, *paths: Path, dark: bool = False, force: bool = False) -> None:
    """Write a chart into one file or several, each in one step; the same chart is the same file.

    A light SVG turns dark with its reader's colour scheme. Of a chart with several fonts, bold
    ones among them, the PDF alone is not always the same: its writer shuffles them.

    Args:
        chart: What is drawn, in the colours of ``LIGHT``.
        paths: Files that end in one of ``KINDS``.
        dark: Draw it in the colours of ``DARK``.
        force: Replace files that stand there.

    Raises:
        InputError: as `check_chart_path` says, before anything is written.
    """
    for path in paths:
        check_chart_path(path, force=force)
    svg = _drawn(chart, dark=dark)
    for path in paths:
        with replacing(path) as file:
            file.write(_converted(svg, path.suffix.removeprefix(".").lower(), dark))


def chart_svg(chart: Chart) -> str:
    """Return a chart as SVG, which turns dark with its reader's colour scheme."""
    return _following_the_reader(_drawn(chart))


def _drawn(chart: Chart, *, dark: bool = False) -> str:
    spec = chart_spec(chart, dark=dark)
    drawn: str = vl_convert.vegalite_to_svg(spec, vl_version=_vegalite_version(spec))
    return drawn


def chart_spec(chart: Chart, *, dark: bool = False) -> dict[str, Any]:
    """Return a chart's Vega-Lite specification in the package's theme, for a file or a page."""
    spec = chart.to_dict()
    spec["config"] = spec.get("config", {}) | THEME
    if not dark:
        return spec
    text = json.dumps(spec)
    for light, other in zip(astuple(LIGHT), astuple(DARK), strict=True):
        text = text.replace(light, other)
    recoloured: dict[str, Any] = json.loads(text)
    return recoloured


@cache  # making it takes longer than a chart
def chart_script() -> str:
    """Return JavaScript that gives a page `vegaEmbed`, which draws what `chart_spec` returns.

    It is whole: the page needs no other host. Draw with ``renderer: "svg"``, so that `DARK_CSS`
    reaches the colours.
    """
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def spread_out(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move places on a line as little as needed until neighbours are ``gap`` apart.

    Their order stays. Where the line from ``low`` to ``high`` is too short for all, the gap
    shrinks to fill it evenly.
    """
    count = len(places)
    if not count:
        return []
    if count > 1:
        gap = min(gap, (high - low) / (count - 1))
    order = sorted(range(count), key=lambda i: places[i])
    # Without the gaps "apart" becomes "not falling", which isotonic regression solves.
    level = isotonic_regression([places[i] - rank * gap for rank, i in enumerate(order)]).x
    top = high - (count - 1) * gap
    moved = list(places)
    for rank, i in enumerate(order):
        moved[i] = min(max(float(level[rank]), low), top) + rank * gap
    return moved


def _dark_css() -> str:
    pairs = zip(astuple(LIGHT), astuple(DARK), strict=True)
    rules = [
        f'svg [{part}="{light}"]{{{part}:{dark}}}'
        for light, dark in pairs
        for part in ("fill", "stroke")
    ]
    return f"@media (prefers-color-scheme: dark){{{''.join(rules)}}}"


DARK_CSS = _dark_css()
"""CSS that turns charts dark for a reader who asks for it, in a page and in an SVG file."""

THEME: dict[str, Any] = {
    "background": LIGHT.ground,
    "font": FONT,
    "view": {"stroke": None, "continuousWidth": 420, "continuousHeight": 280},
    "axis": {
        "domainColor": LIGHT.line,
        "gridColor": LIGHT.line,
        "tickColor": LIGHT.line,
        "labelColor": LIGHT.soft,
        "titleColor": LIGHT.text,
        "labelFontSize": 11,
        "titleFontSize": 12,
        "titleFontWeight": "normal",  # one font, see `write_chart`
        "titlePadding": 8,
    },
    "legend": {
        "labelColor": LIGHT.text,
        "titleColor": LIGHT.text,
        "labelFontSize": 11,
        "titleFontWeight": "normal",
        "labelLimit": 0,
    },
    "title": {
        "color": LIGHT.text,
        "subtitleColor": LIGHT.soft,
        "fontSize": 13,
        "fontWeight": "normal",
        "anchor": "start",
    },
    "header": {
        "labelColor": LIGHT.text,
        "titleColor": LIGHT.text,
        "labelFontSize": 12,
        "labelFontWeight": "normal",
        "titleFontWeight": "normal",
    },
    "text": {"color": LIGHT.text, "fontSize": 11},
    "range": {"category": list(COLOURS)},
}


def _converted(svg: str, kind: str, dark: bool) -> bytes:
    if kind == "png":
        return vl_convert.svg_to_png(svg, scale=SCALE)
    if kind == "pdf":
        return _sorted_resources(vl_convert.svg_to_pdf(svg))
    return (svg if dark else _following_the_reader(svg)).encode()


def _following_the_reader(svg: str) -> str:
    return re.sub(r"<svg[^>]*>", lambda tag: f"{tag[0]}<style>{DARK_CSS}</style>", svg, count=1)


def _sorted_resources(pdf: bytes) -> bytes:
    """Order the lists of colours and forms, which are written in another order every time.

    No byte moves outside them, so the table of places at the end of the file stays right.
    """
    lists = rb"(?:^ +/[a-z]+\d+ \d+ 0 R\n){2,}"
    return re.sub(lists, lambda m: b"".join(sorted(m[0].splitlines(True))), pdf, flags=re.M)


def _vegalite_version(spec: dict[str, Any]) -> str:
    """Return the version that Altair wrote the specification for, as in "6.4"."""
    named = re.search(r"/v(\d+\.\d+)", spec["$schema"])
    assert named is not None
    return named[1]
