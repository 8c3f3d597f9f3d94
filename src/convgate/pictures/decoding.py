"""One picture: from the bytes of a file to a square of pixels."""

import io

import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from convgate.errors import CorruptFile

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
# Content decides, not the name: formats that start an interpreter (EPS) are not among these.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
MAX_PIXELS = 89_478_485  # Pillow's own limit: a quarter of a gigabyte of RGB
_SKIP = "leave damaged pictures out with skip_bad (--skip-bad)"
_SHORT_SIDE = 0.875  # of the resized picture that the centre crop keeps


def decode(data: bytes, name: str) -> Image.Image:
    """Turn the bytes of an image file into an upright RGB picture.

    Grey, palette, CMYK and 16-bit pictures become 8-bit RGB, transparency is dropped, the first
    frame stands for an animation and the camera's orientation is applied.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _check_size(image, name)
            image.load()
            return _rgb(ImageOps.exif_transpose(image))
    except CorruptFile:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise CorruptFile(
            f"{name}: refused, it claims more than {MAX_PIXELS} pixels; scale it down or {_SKIP}"
        ) from None
    except Exception as problem:  # decoders raise nearly every type on damaged bytes
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        if isinstance(problem, UnidentifiedImageError):
            reason = "not an image of a known kind"
        raise CorruptFile(
            f"{name}: cannot be read as an image ({reason}); repair or remove it, or {_SKIP}"
        ) from None


def square(image: Image.Image, image_px: int) -> Image.Image:
    """Return the ``image_px`` x ``image_px`` middle of a picture.

    A picture of exactly that size stays as it is. A larger one is resized to a shorter side of
    ``image_px / 0.875`` first, a smaller one to ``image_px``.
    """
    if image.size == (image_px, image_px):
        return image
    shorter = min(image.size)
    target = round(image_px / _SHORT_SIDE) if shorter > image_px else image_px
    if shorter != target:
        method = Image.Resampling.BICUBIC if shorter > target else Image.Resampling.BILINEAR
        width, height = (max(target, round(side * target / shorter)) for side in image.size)
        image = image.resize((width, height), method)
    left, top = ((side - image_px) // 2 for side in image.size)
    return image.crop((left, top, left + image_px, top + image_px))


def to_tensor(image: Image.Image) -> Tensor:
    width, height = image.size
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.view(height, width, -1).permute(2, 0, 1)  # (H, W, C) -> (C, H, W)


def from_tensor(pixels: Tensor) -> Image.Image:
    """Return uint8 (C, H, W) as a picture, grey for one channel and RGB for three."""
    return to_pil_image(pixels)


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise CorruptFile(
            f"{name}: refused, {width} x {height} is more than {MAX_PIXELS} pixels; scale it down "
            f"or {_SKIP}"
        )


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clips it to white
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def shrink(image: Image.Image, longest_px: int) -> Image.Image:
    """Return a picture of which no side exceeds ``longest_px``."""
    longest = max(image.size)
    if longest <= longest_px:
        return image
    width, height = (max(1, round(side * longest_px / longest)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
