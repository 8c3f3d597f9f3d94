"""Shapes of objects: polygons, run-length codes and pictures of numbers, as masks."""

import io
import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from convgate.errors import CorruptFile, missing
from convgate.pictures.decoding import MAX_PIXELS


def coder() -> Any:
    try:
        from pycocotools import mask
    except ImportError:
        raise missing("reading masks and scoring boxes", "pycocotools", "detection") from None
    return mask


def draw(shape: object, numbers: Tensor | None, size: tuple[int, int]) -> Tensor:
    """Return a shape as uint8 (H, W) of 0 and 1.

    Args:
        shape: polygons, a run-length code, a number in ``numbers``, or None for an empty mask.
        numbers: the picture's mask file, (H, W).
        size: width and height.
    """
    width, height = size
    if shape is None:
        return torch.zeros(height, width, dtype=torch.uint8)
    if isinstance(shape, int):
        assert numbers is not None
        return (numbers == shape).to(torch.uint8)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="__array__ implementation")  # pycocotools' own
        return torch.from_numpy(coder().decode(_code(shape, size)))


def _code(shape: Any, size: tuple[int, int]) -> Any:
    width, height = size
    if isinstance(shape, dict):
        counts = shape["counts"]
        listed = isinstance(counts, list)
        return coder().frPyObjects(shape, height, width) if listed else shape
    polygons = [polygon.tolist() for polygon in shape]
    return coder().merge(coder().frPyObjects(polygons, height, width))


def shape_fault(shape: object, size: tuple[int, int]) -> str:
    """Return what is wrong with a polygon or run-length code for a picture, or nothing."""
    if isinstance(shape, dict):
        claimed = shape.get("size")
        if claimed != [size[1], size[0]]:
            return f"has a mask of size {claimed}, but the picture is [{size[1]}, {size[0]}]"
        return "" if _decodes(shape, size) else "has a damaged mask"
    if isinstance(shape, tuple):
        if not shape or any(len(line) < 6 or len(line) % 2 for line in shape):
            return "has a polygon of fewer than three points"
        if not all(_near(line, max(size)) for line in shape):
            return "has a polygon with points far outside the picture or that are no numbers"
    return ""


def _near(line: Sequence[float], side: int) -> bool:
    """Tell whether coordinates lie within a side of the picture; drawing walks every pixel."""
    numbers = math.isfinite(sum(line))  # min and max pass over what is no number
    return numbers and min(line) >= -side and max(line) <= 2 * side


def _decodes(shape: dict[str, Any], size: tuple[int, int]) -> bool:
    counts = shape.get("counts")
    if isinstance(counts, list):
        whole = all(isinstance(run, int) and run >= 0 for run in counts)
        return whole and sum(counts) == size[0] * size[1]
    return isinstance(counts, (str, bytes)) and _runs(counts) == size[0] * size[1]


def _runs(text: str | bytes) -> int:
    """Return the pixels that a compressed run-length code covers, or -1 for a damaged one.

    Five bits a character, the sixth says that the number goes on; from the fourth number on, each
    is a difference to the one before the last. Decoding unchecked numbers would write anywhere.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text if isinstance(text, bytes) else text.encode("utf-8", "replace"):
        bits = character - 48
        if not 0 <= bits < 64 or shift > 30:
            return -1
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        signed = value - (1 << shift) if bits & 16 else value
        runs.append(signed + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return sum(runs) if shift == 0 and all(run >= 0 for run in runs) else -1


def read_numbers(data: bytes, name: str) -> Tensor:
    """Decode a PNG whose pixels are numbers (grey or palette), uint8 (H, W)."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            width, height = image.size
            if width * height > MAX_PIXELS or image.mode not in ("L", "P"):
                raise ValueError(f"{image.mode} pixels, {width} x {height}")
            pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    except Exception as problem:  # decoders raise nearly every type on damaged bytes
        raise CorruptFile(f"{name}: not a mask of 8-bit numbers ({problem})") from None
    return pixels.view(height, width)
