"""Augmentation of one picture at a time: scaled window and RandAugment."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from PIL import Image
from timm.data.auto_augment import rand_augment_ops
from torch import Tensor

from convgate.pictures.decoding import from_tensor, to_tensor
from convgate.train.data.specs import AugmentSpec

__all__ = ["RandAugment", "resized_crop"]

# At exactly 10, posterize would keep no bit at all, which Pillow refuses.
_MAX_MAGNITUDE = 9.99
_OPERATIONS = (
    "AutoContrast",
    "Equalize",
    "Invert",
    "Rotate",
    "PosterizeIncreasing",
    "SolarizeIncreasing",
    "SolarizeAdd",
    "ColorIncreasing",
    "ContrastIncreasing",
    "BrightnessIncreasing",
    "SharpnessIncreasing",
    "ShearX",
    "ShearY",
    "TranslateXRel",
    "TranslateYRel",
)


def resized_crop(image: Image.Image, image_px: int, rng: torch.Generator) -> Image.Image:
    """Cut a random window and scale it to ``image_px`` x ``image_px``, bicubic.

    The window has 8 to 100 % of the area and a log-uniform aspect ratio from 3:4 to 4:3; if none
    of ten draws fits, the largest middle window of an allowed ratio is taken.
    Source: arXiv 1409.4842, section 6.
    """
    window = image.crop(_draw_window(image.width, image.height, rng))
    return window.resize((image_px, image_px), Image.Resampling.BICUBIC)


def _draw_window(width: int, height: int, rng: torch.Generator) -> tuple[int, int, int, int]:
    draws = torch.rand(10, 4, generator=rng).tolist()
    limit = math.log(4 / 3)
    for area, log_aspect, across, down in draws:
        pixels = (0.08 + 0.92 * area) * width * height
        aspect = math.exp(limit * (2 * log_aspect - 1))
        w, h = round(math.sqrt(pixels * aspect)), round(math.sqrt(pixels / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(across * (width - w + 1)), int(down * (height - h + 1))
            return left, top, left + w, top + h
    w = min(width, round(height * 4 / 3))
    h = min(height, round(width * 4 / 3))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


class RandAugment:
    """Two random operations a picture, each applied with probability 1/2.

    Operations and strengths are timm's increasing set ("inc1"): severity grows with magnitude.
    Source: arXiv 1909.13719, section 3.
    """

    def __init__(self, spec: AugmentSpec) -> None:
        self._operations = rand_augment_ops(
            magnitude=spec.randaugment_magnitude,
            hparams={"magnitude_std": spec.randaugment_mstd, "magnitude_max": _MAX_MAGNITUDE},
            transforms=list(_OPERATIONS),
        )

    def __call__(self, pixels: Tensor, seed: int) -> Tensor:
        """Change one picture, uint8 (C, H, W), as ``seed`` says."""
        picture = from_tensor(pixels)
        image = picture.convert("RGB")  # the operations fill with a colour
        with _seeded(seed):
            for operation in random.choices(self._operations, k=2):
                image = operation(image)
        return to_tensor(image.convert(picture.mode))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed Python's global generator, which timm's operations draw from, for one block."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
