"""Tiny picture trees."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

COLOURS = {"cat": (200, 40, 40), "dog": (40, 200, 40), "fox": (40, 40, 200)}


def _picture(colour: tuple[int, int, int], size: tuple[int, int], seed: int) -> Image.Image:
    rng = torch.Generator().manual_seed(seed)
    width, height = size
    noise = torch.randint(-30, 30, (height, width, 3), generator=rng)
    pixels = (torch.tensor(colour) + noise).clamp(0, 255).to(torch.uint8)
    return Image.frombytes("RGB", size, bytes(pixels.flatten().tolist()))


@pytest.fixture
def make_tree(tmp_path: Path) -> Callable[..., Path]:
    """Write train/CLASS and val/CLASS with noisy pictures of one colour; PNG keeps them exact."""

    def make(
        train: int = 4,
        val: int = 2,
        size: tuple[int, int] = (8, 8),
        val_name: str = "val",
        top: str = "set",
        extension: str = "png",
    ) -> Path:
        seed = 0
        for split, count in (("train", train), (val_name, val)):
            for label, colour in COLOURS.items():
                folder = tmp_path / top / split / label
                folder.mkdir(parents=True)
                for number in range(count):
                    seed += 1
                    _picture(colour, size, seed).save(folder / f"{number:03d}.{extension}")
        return tmp_path / top

    return make


@pytest.fixture
def make_zip() -> Callable[[Path], Path]:
    """Pack a tree, with its own name as the top folder, beside it."""

    def make(tree: Path) -> Path:
        target = tree.with_suffix(".zip")
        with zipfile.ZipFile(target, "w") as archive:
            for path in sorted(tree.rglob("*")):
                archive.write(path, path.relative_to(tree.parent))
        return target

    return make


@pytest.fixture
def png() -> Callable[[Image.Image], bytes]:
    def encode(image: Image.Image) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return buffer.getvalue()

    return encode
