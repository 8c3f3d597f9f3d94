"""Cut pictures of pedestrians, and of streets without one, out of the Penn-Fudan photographs.

    python -m benchmarks.pedestrians PennFudanPed.zip --out pedestrians

Writes OUT/train/pedestrian, OUT/train/street and the same below OUT/val, as `data.name = "folder"`
takes them, and the whole held-out photographs below OUT/photographs. Every fifth photograph is held
out. A pedestrian's square is as high as its box, with an eighth more on each side; a street has
half that side and meets no box, or is left out.
"""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from PIL import Image

HELD_OUT = 5
TRIES = 50
MARGIN = 1.25
Box = tuple[int, int, int, int]  # left, upper, right, lower, as PIL has it


def boxes_of(mask: Image.Image) -> list[Box]:
    """Return the box of every pedestrian; the mask has one number for each."""
    numbers = np.asarray(mask)
    found = []
    for number in range(1, int(numbers.max()) + 1):
        rows, columns = np.nonzero(numbers == number)
        if len(rows):
            upper, left = int(rows.min()), int(columns.min())
            found.append((left, upper, int(columns.max()) + 1, int(rows.max()) + 1))
    return found


def square(box: Box, size: tuple[int, int]) -> Box:
    """Return the square around a box, moved into the picture."""
    left, upper, right, lower = box
    side = min(int(MARGIN * max(right - left, lower - upper)), *size)
    x = min(max((left + right - side) // 2, 0), size[0] - side)
    y = min(max((upper + lower - side) // 2, 0), size[1] - side)
    return x, y, x + side, y + side


def free_square(
    side: int, boxes: list[Box], size: tuple[int, int], draw: random.Random
) -> Box | None:
    """Return a square that meets no box, if a few tries find one."""
    for _ in range(TRIES):
        x, y = draw.randint(0, size[0] - side), draw.randint(0, size[1] - side)
        if not any(x < r and left < x + side and y < d and u < y + side for left, u, r, d in boxes):
            return x, y, x + side, y + side
    return None


def cut(
    photograph: Image.Image, mask: Image.Image, draw: random.Random
) -> Iterator[tuple[str, Image.Image]]:
    """Yield the class and the picture of every square."""
    boxes = boxes_of(mask)
    for box in boxes:
        around = square(box, photograph.size)
        yield "pedestrian", photograph.crop(around)
        free = free_square((around[2] - around[0]) // 2, boxes, photograph.size, draw)
        if free is not None:
            yield "street", photograph.crop(free)


def main() -> None:
    """Write the folders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="PennFudanPed.zip")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    draw = random.Random(0)
    with ZipFile(options.data) as archive:
        names = sorted(n for n in archive.namelist() if "/PNGImages/" in n and n.endswith(".png"))
        for index, name in enumerate(names):
            stem = Path(name).stem
            photograph = Image.open(archive.open(name)).convert("RGB")
            mask = Image.open(archive.open(f"PennFudanPed/PedMasks/{stem}_mask.png"))
            held_out = index % HELD_OUT == 0
            if held_out:
                save(photograph, options.out / "photographs" / f"{stem}.jpg")
            part = options.out / ("val" if held_out else "train")
            for number, (kind, picture) in enumerate(cut(photograph, mask, draw)):
                save(picture, part / kind / f"{stem}_{number}.jpg")


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=95)


if __name__ == "__main__":
    main()
