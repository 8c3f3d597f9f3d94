"""Pictures with what was found in them: boxes, names, scores, masks, classes of pixels.

Torchvision draws boxes and masks. Names are written here: torchvision's are 10 px high in a picture
of any size, lie on the object, and run over the picture's right edge.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from convgate.pictures.decoding import from_tensor, to_tensor

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
# Okabe and Ito's colours, which the colour-blind can tell apart.
_COLOURS: tuple[Colour, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
    (204, 121, 167),
)  # fmt: skip
_ALPHA = 0.45
_PAD_PX = 2
_MIN_TEXT_PX, _LINE, _TEXT = 10, 1 / 250, 1 / 35  # of the longer side


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
    order = [i if alone else classes.index(seen.label) for i, seen in enumerate(found)]
    colours = [_COLOURS[number % len(_COLOURS)] for number in order]
    if not found:
        return image.copy()
    pixels = to_tensor(image)
    for mask, colour in zip(() if masks is None else masks.cpu(), colours, strict=False):
        # One by one: where masks overlap, torchvision would paint black.
        pixels = draw_segmentation_masks(pixels, mask, _ALPHA, colour)
    longest = max(image.size)
    boxes = torch.tensor([seen.box for seen in found])
    width = max(1, round(longest * _LINE))
    drawn = from_tensor(draw_bounding_boxes(pixels, boxes, colors=colours, width=width))
    font = ImageFont.load_default(max(_MIN_TEXT_PX, longest * _TEXT))
    for seen, colour in zip(found, colours, strict=True):
        _write_name(drawn, seen, colour, font)
    return drawn


def draw_classes(image: Image.Image, classes: Tensor) -> Image.Image:
    """Return a copy of a picture tinted by the class of each pixel; 0, the background, is clear.

    Shape: classes (H, W).
    """
    labels = [label for label in torch.unique(classes).tolist() if label]
    if not labels:
        return image.copy()
    masks = torch.stack([classes.cpu() == label for label in labels])
    colours = [_COLOURS[(label - 1) % len(_COLOURS)] for label in labels]
    return from_tensor(draw_segmentation_masks(to_tensor(image), masks, _ALPHA, colours))


def _write_name(image: Image.Image, seen: Found, colour: Colour, font: Font) -> None:
    text, pen = f"{seen.label} {seen.score:.2f}", ImageDraw.Draw(image)
    box = pen.textbbox((_PAD_PX, _PAD_PX), text, font=font)
    wide, high = box[2] + _PAD_PX, box[3] + _PAD_PX
    left = max(0, min(seen.box[0], image.width - wide - 1))
    top = seen.box[1] - high if seen.box[1] > high else seen.box[1]
    pen.rectangle((left, top, left + wide, top + high), fill=colour)
    pen.text((left + _PAD_PX, top + _PAD_PX), text, fill=(0, 0, 0), font=font)
