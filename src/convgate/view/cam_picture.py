"""Class activation maps for a reader: photographs in rows, networks or layers in columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from textwrap import fill, shorten
from typing import Any

import altair as alt
from PIL import Image
from torch import Tensor

from convgate.charts import LIGHT
from convgate.errors import InputError
from convgate.networks import distinct
from convgate.pages import data_url, file_bytes
from convgate.view.cam import ClassMaps, Compared
from convgate.view.maps import FeatureMap

TILE_PX = 150
GAP_PX = 10
LINE_PX = 13
FONT_PX = 10
CHARS = 26
"""Characters of the small print that fit the width of a tile."""
HEAT = "turbo"
HEAT_SHARE = 0.5


@dataclass(frozen=True)
class Tile:
    """One map over its photograph."""

    pixels: Tensor  # as the network saw it, RGB uint8 (3, H, W)
    heat: Tensor | None  # (H, W) in 0 .. 1; None for the photograph alone
    caption: str = ""


Rows = list[tuple[str, list[Tile]]]


def side_by_side(found: Compared) -> tuple[list[str], Rows]:
    """Return columns and rows: networks beside each other, or one network's layers in a strip."""
    titles = _titles(found)
    if max(len(maps.maps) for maps in found[0][1]) > 1:
        return _strips(found, titles)
    rows = [
        (_short_name(name), [Tile(row[0].pixels, None), *(_tile(m, caption(m)) for m in row)])
        for name, row in found
    ]
    return ["photograph", *titles], rows


def summary(found: Compared) -> list[dict[str, str]]:
    """Return the answers in short: a row a picture, a column a network."""
    titles = _titles(found)
    return [
        {"picture": _short_name(name)} | dict(zip(titles, map(caption, row), strict=True))
        for name, row in found
    ]


def caption(maps: ClassMaps) -> str:
    """Return the predicted class and its probability, and those of another class asked for."""
    scores = maps.scores
    lines = [_share(maps, scores.predicted, scores.probability)]
    if scores.target != scores.predicted:
        lines.append(f"of {_share(maps, scores.target, scores.target_probability)}")
    return "\n".join(lines)


def short(name: str) -> str:
    """Cut a name at a word, to what a caption holds beside a percentage."""
    return name if len(name) <= CHARS - 8 else shorten(name, CHARS - 8, placeholder="…") or name


def draw_maps(columns: Sequence[str], rows: Rows, note: str) -> alt.LayerChart:
    """Draw a grid of tiles.

    Args:
        columns: What stands above each column.
        rows: What stands left of each row, and its tiles, one a column.
        note: What stands below the whole.
    """
    heads, names = [_folded(head) for head in columns], [_folded(name) for name, _ in rows]
    left, top = LINE_PX * _lines(names) + 4, LINE_PX * _lines(heads) + 4
    step = TILE_PX + GAP_PX
    below = LINE_PX * _lines([tile.caption for _, tiles in rows for tile in tiles])
    images: list[dict[str, Any]] = []
    texts: list[dict[str, Any]] = []
    sides: list[dict[str, Any]] = []
    for column, head in enumerate(heads):
        texts.append({"x": left + column * step + TILE_PX / 2, "y": 0, "text": head})
    for row, (name, (_, tiles)) in enumerate(zip(names, rows, strict=True)):
        y = top + row * (step + below)
        sides.append({"x": 0, "y": y + TILE_PX / 2, "text": name})
        for column, tile in enumerate(tiles):
            x = left + column * step
            images.append({"x": x, "y": y, "url": tile_url(tile.pixels, tile.heat)})
            texts.append({"x": x + TILE_PX / 2, "y": y + TILE_PX + 4, "text": tile.caption})
    width, height = left + len(columns) * step, top + len(rows) * (step + below)
    below_all = fill(note, round(CHARS * width / TILE_PX))
    pictures = _placed(images).mark_image(
        width=TILE_PX, height=TILE_PX, align="left", baseline="top"
    )
    return alt.LayerChart(
        layer=[
            pictures.encode(url="url:N"),
            _written(texts),
            _written(sides, angle=270),
            _written([{"x": 0, "y": height, "text": below_all}], align="left", color=LIGHT.soft),
        ],
        width=width,
        height=height + LINE_PX * _lines([below_all]),
    )


def _strips(found: Compared, titles: Sequence[str]) -> tuple[list[str], Rows]:
    counts = {len(maps.maps) for _, row in found for maps in row}
    if len(counts) > 1:
        raise InputError("the networks have different numbers of these layers; give a number")
    rows = []
    for name, row in found:
        for title, maps in zip(titles, row, strict=True):
            photograph = Tile(maps.pixels, None, f"{_short_name(name)}\n{caption(maps)}")
            strip = [_tile(maps, _size(layer), i) for i, layer in enumerate(maps.layers)]
            rows.append((title, [photograph, *strip]))
    count = counts.pop()
    return ["photograph", *(f"map {i} of {count}" for i in range(1, count + 1))], rows


def _titles(found: Compared) -> list[str]:
    return distinct([maps.network.title for maps in found[0][1]]) if found else []


def _tile(maps: ClassMaps, text: str, index: int = 0) -> Tile:
    return Tile(maps.pixels, maps.maps[index], text)


def _share(maps: ClassMaps, index: int, probability: float) -> str:
    digits = 0 if probability >= 0.1 else 1
    return f"{short(maps.network.class_name(index))} {probability:.{digits}%}"


def _size(layer: FeatureMap) -> str:
    return f"{layer.path}\n{layer.channels} x {layer.height} x {layer.width}"


def _short_name(name: str) -> str:
    return "/".join(PurePosixPath(name).parts[-2:])


def tile_url(pixels: Tensor, heat: Tensor | None) -> str:
    """Return a map over its photograph, as the data address of a PNG; see `Tile`."""
    photograph = pixels.permute(1, 2, 0).numpy() / 255
    if heat is not None:
        from matplotlib import colormaps  # grad-cam brings it

        colours = colormaps[HEAT](heat.numpy())[..., :3]
        photograph = (1 - HEAT_SHARE) * photograph + HEAT_SHARE * colours
    image = Image.fromarray((photograph * 255).round().astype("uint8"))
    larger = max(1, round(2 * TILE_PX / image.width))  # small pixels stay squares
    image = image.resize((larger * image.width, larger * image.height), Image.Resampling.NEAREST)
    return data_url(file_bytes(image, "PNG"), "image/png")


def _folded(text: str) -> str:
    return fill(text, CHARS, break_on_hyphens=False)


def _lines(texts: Sequence[str]) -> int:
    return max(text.count("\n") + 1 for text in texts)


def _written(texts: Sequence[dict[str, Any]], **options: Any) -> alt.Chart:
    options |= {"fontSize": FONT_PX, "lineHeight": LINE_PX, "baseline": "top", "lineBreak": "\n"}
    return _placed(texts).mark_text(**options).encode(text="text:N")


def _placed(rows: Sequence[dict[str, Any]]) -> alt.Chart:
    """Place marks by pixels from the left and from the top."""
    x, y = (axis(f"{name}:Q", scale=None, axis=None) for axis, name in ((alt.X, "x"), (alt.Y, "y")))
    return alt.Chart(alt.InlineData(values=list(rows))).encode(x, y)
