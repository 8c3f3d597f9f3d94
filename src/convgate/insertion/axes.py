"""Which axis of a tensor is which: maps and tokens are followed through permutations and reshapes.

A layout is a word with a letter an axis, as "NCHW", "NHWC", "NLC" (tokens, L = H W) or "NCL".
"""

from dataclasses import dataclass
from math import prod

from convgate.insertion.tape import Op, Tape, Value

LAYOUTS = ("NCHW", "NHWC", "NLC")
"""What a gate can be put on."""

FIRST = {
    "convolution", "max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d",
    "adaptive_max_pool2d", "upsample_bilinear2d", "upsample_nearest2d", "upsample_bicubic2d",
    "_upsample_nearest_exact2d", "pixel_shuffle", "reflection_pad2d", "replication_pad2d",
}  # fmt: skip
"""Operations on (N, C, H, W) alone."""

RESHAPES = {"view", "_unsafe_view", "_reshape_alias", "reshape", "squeeze", "unsqueeze", "expand"}
UNKNOWN = {"bmm", "baddbmm", "_softmax", "unfold", "im2col", "col2im", "as_strided", "index"}
MATMULS = {"addmm", "mm"}
UNFOLDED = {("NHWC", 3): "NLC", ("NLC", 4): "NHWC", ("NCHW", 3): "NCL", ("NCL", 4): "NCHW"}
"""Layouts and the number of axes after a reshape, to the layout that follows."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Axes:
    """The layout of one tensor, and the height and width of its map."""

    layout: str  # empty: not known
    grid: tuple[int, int]  # H and W
    lead: tuple[str, Shape] = ("", ())  # of rows (N H W, C): what they were before


def follow(tape: Tape, image: Value) -> dict[Value, Axes]:
    """Return the axes of every value that is a map, or may become one again."""
    shape = tape.shape[image]
    known: dict[Value, Axes] = {}
    batch = shape[0] if len(shape) == 4 else 1
    if len(shape) == 4:
        known[image] = Axes("NCHW", (shape[2], shape[3]))
    for op in tape.ops:
        source = next((known[v] for v in op.inputs if v in known and known[v].layout), None)
        source = source or next((known[v] for v in op.inputs if v in known), None)
        if source is None and op.name in FIRST:
            source = Axes("", (0, 0))
        if source is None:
            continue
        for value in op.outputs:
            out = tape.shape[value]
            known[value] = _checked(_step(tape, op, source, out), out, batch, source.grid)
    return known


def _step(tape: Tape, op: Op, source: Axes, out: Shape) -> Axes:
    grid = source.grid
    given = next((tape.shape[v] for v in op.inputs if len(tape.shape[v]) == len(source.layout)), ())
    if op.name in FIRST:
        return _first(out, grid)
    if op.name in UNKNOWN or op.name.startswith("_scaled_dot_product"):
        return Axes("", grid)
    if op.name in ("permute", "transpose", "t"):
        return _permuted(op, source)
    if op.name in MATMULS:
        return Axes("RC", grid, source.lead) if source.layout == "RC" else Axes("", grid)
    if op.name in RESHAPES or len(out) != len(source.layout):
        return _reshaped(source, given, out)
    return Axes(source.layout, grid, source.lead)


def _first(out: Shape, grid: tuple[int, int]) -> Axes:
    if len(out) == 4:
        return Axes("NCHW", (out[2], out[3]))
    return Axes("NCL" if len(out) == 3 else "", grid)


def _permuted(op: Op, source: Axes) -> Axes:
    letters = list(source.layout)
    if op.name == "permute" and len(op.args) > 1:
        order = [int(i) for i in op.args[1]]
        if len(order) != len(letters):
            return Axes("", source.grid)
        return Axes("".join(letters[i] for i in order), source.grid)
    if op.name == "transpose" and letters and len(op.args) > 2:
        a, b = int(op.args[1]), int(op.args[2])
        letters[a], letters[b] = letters[b], letters[a]
        return Axes("".join(letters), source.grid)
    return Axes("", source.grid)


def _reshaped(source: Axes, given: Shape, out: Shape) -> Axes:
    """Follow a reshape between maps, tokens and rows; forget the layout where it is another."""
    grid, layout = source.grid, source.layout
    if layout == "RC" and source.lead[0] and out[:-1] == source.lead[1]:
        return Axes(source.lead[0], grid)
    if given == out:
        return source
    if layout.endswith("C") and len(out) == 2 and given and out == (prod(given[:-1]), given[-1]):
        return Axes("RC", grid, (layout, given[:-1]))
    if given and (layout, len(out)) in UNFOLDED:
        same = (
            (out[:2] == given[:2]) if "NC" in layout else (out[0], out[-1]) == (given[0], given[-1])
        )
        if same and (len(out) == 3 or grid in (out[1:3], out[2:])):
            return Axes(UNFOLDED[layout, len(out)], grid)
    return _guessed(grid, out)


def _guessed(grid: tuple[int, int], out: Shape) -> Axes:
    """Find a map again by its height and width; tokens, by a half of both: merged patches."""
    for size in (grid, (grid[0] // 2, grid[1] // 2)):
        if prod(size) <= 1:
            continue
        fits = [name for name, at in {"NCHW": 2, "NHWC": 1}.items() if out[at : at + 2] == size]
        if len(out) == 3:
            places = {"NCL": 2, "NLC": 1} if size == grid else {"NLC": 1}
            fits = [name for name, at in places.items() if out[at] == prod(size)]
        if len(fits) == 1 and len(out) == len(fits[0]):
            return Axes(fits[0], size)
    return Axes("", grid)


def _checked(axes: Axes, out: Shape, batch: int, grid: tuple[int, int]) -> Axes:
    """Return the axes with the map's size as the shape says it; no layout where they disagree."""
    layout = axes.layout
    if layout == "RC" and len(out) == 2:
        return axes
    if len(layout) != len(out) or not layout.startswith("N") or out[0] != batch:
        return Axes("", grid)
    size = dict(zip(layout, out, strict=True))
    if "H" in size and "W" in size:
        return Axes(layout, (size["H"], size["W"]))
    return axes if size.get("L") == prod(axes.grid) else Axes("", grid)
