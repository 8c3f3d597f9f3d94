"""Pictures with what was found in them: boxes, names, scores, masks, classes of pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

__all__ = ["Found", "draw_classes", "draw_objects"]

# Okabe and Ito's colours, which the colour-blind can tell apart.
_COLOURS = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
    (204, 121, 167),
)  # fmt: skip
_ALPHA = 0.45
_PAD_PX = 2
_SMALLEST_PX, _LINE, _TEXT = 10, 1 / 250, 1 / 35  # of the longer side


@dataclass(frozen=True)
class Found:
    """One object: its class, its score in 0..1, and its box in pixels of the picture's file."""

    label: str
    score: float
    box: tuple[float, float, float, float]


def draw_objects(
    image: Image.Image, found: Sequence[Found], masks: Tensor | None, classes: Sequence[str]
) -> Image.Image:
    """Return a copy of a picture with boxes, names and scores.

    Args:
        image: The picture.
        found: Its objects, their boxes in pixels of ``image``.
        masks: bool (n, H, W), or None.
        classes: All names; a class has the same colour in every picture. A lone class has none of
            its own, so its objects take turns.
    """
    alone = len(classes) == 1
    order = [i if alone else classes.index(thing.label) for i, thing in enumerate(found)]
    colours = [_COLOURS[number % len(_COLOURS)] for number in order]
    drawn = image.copy()
    if masks is not None:
        for mask, colour in zip(masks, colours, strict=True):
            drawn = _tint(drawn, mask, colour)
    pen = ImageDraw.Draw(drawn)
    longest = max(image.size)
    font = ImageFont.load_default(max(_SMALLEST_PX, longest * _TEXT))
    for thing, colour in zip(found, colours, strict=True):
        pen.rectangle(thing.box, outline=colour, width=max(1, round(longest * _LINE)))
        _name(pen, thing, colour, font)
    return drawn


def draw_classes(image: Image.Image, classes: Tensor) -> Image.Image:
    """Return a copy of a picture tinted by the class of each pixel; 0, the background, is clear.

    Shape: classes (H, W).
    """
    drawn = image
    for label in torch.unique(classes).tolist():
        if label:
            drawn = _tint(drawn, classes == label, _COLOURS[(label - 1) % len(_COLOURS)])
    return drawn.copy() if drawn is image else drawn


def _tint(image: Image.Image, mask: Tensor, colour: tuple[int, int, int]) -> Image.Image:
    alpha = Image.fromarray((mask.cpu().numpy() * 255 * _ALPHA).astype(np.uint8), "L")
    return Image.composite(Image.new("RGB", image.size, colour), image, alpha)


def _name(pen: ImageDraw.ImageDraw, thing: Found, colour: tuple[int, int, int], font: Any) -> None:
    """Write name and score on a plate above the box, moved inside at the picture's edge."""
    text = f"{thing.label} {thing.score:.2f}"
    box = pen.textbbox((_PAD_PX, _PAD_PX), text, font=font)
    wide, high = box[2] + _PAD_PX, box[3] + _PAD_PX
    left = max(0, min(thing.box[0], pen.im.size[0] - wide - 1))
    top = thing.box[1] - high if thing.box[1] > high else thing.box[1]
    pen.rectangle((left, top, left + wide, top + high), fill=colour)
    pen.text((left + _PAD_PX, top + _PAD_PX), text, fill=(0, 0, 0), font=font)
