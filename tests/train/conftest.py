"""A tiny run, and tiny sets of pictures with objects: bright rectangles on dark noise."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from convgate.train.annotated import BatchPlan, ObjectAugmentSpec, TargetKinds, open_annotated
from convgate.train.data import DataSpec
from convgate.train.recipe import load_recipe, override

TINY = (
    "data.train_count=200",
    "schedule.epochs=4",
    "schedule.warmup_epochs=1",
    "run.batch_size=40",
)


@pytest.fixture
def tiny():
    """A run of four epochs of five updates, with changes given as override() takes them."""

    def make(*settings):
        return override(load_recipe("digits/demo"), *TINY, *settings)

    return make


def picture(size, boxes, seed=0):
    """Return noise with one bright rectangle a box, and the numbers of the boxes as a mask."""
    width, height = size
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), dtype=np.uint8)
    for number, (left, top, right, bottom) in enumerate(boxes, 1):
        pixels[top:bottom, left:right] = (220, 200, 40)
        mask[top:bottom, left:right] = number
    return Image.fromarray(pixels), Image.fromarray(mask)


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


# File name, size, boxes: one has no object.
TRAIN = [
    ("a.png", (40, 30), [(5, 5, 20, 25)]),
    ("b.png", (30, 40), [(2, 3, 12, 20), (15, 20, 28, 38)]),
    ("c.png", (24, 24), []),
]
VAL = [("d.png", (32, 32), [(8, 8, 24, 28)]), ("e.png", (36, 28), [(1, 1, 14, 20)])]


class Coco:
    """A folder in COCO's form, whose annotations a test may spoil before it is written."""

    def __init__(self, root):
        self.root = root
        self.sheets = {"train": self.sheet(TRAIN), "val": self.sheet(VAL)}
        for split, items in (("train", TRAIN), ("val", VAL)):
            folder = root / f"{split}2017"
            folder.mkdir(parents=True)
            for seed, (name, size, boxes) in enumerate(items):
                (folder / name).write_bytes(png(picture(size, boxes, seed)[0]))

    @staticmethod
    def sheet(items):
        images, annotations = [], []
        for i, (name, (width, height), boxes) in enumerate(items, 1):
            images.append({"id": i, "file_name": name, "width": width, "height": height})
            for left, top, right, bottom in boxes:
                ring = [left, top, right, top, right, bottom, left, bottom]
                annotations.append({
                    "id": len(annotations) + 1, "image_id": i, "category_id": 7, "iscrowd": 0,
                    "bbox": [left, top, right - left, bottom - top], "segmentation": [ring],
                    "area": (right - left) * (bottom - top),
                })  # fmt: skip
        # ids with gaps, not in order
        categories = [{"id": 90, "name": "zebra"}, {"id": 7, "name": "tile"}]
        return {"images": images, "annotations": annotations, "categories": categories}

    def write(self):
        folder = self.root / "annotations"
        folder.mkdir(exist_ok=True)
        for split, sheet in self.sheets.items():
            (folder / f"instances_{split}2017.json").write_text(json.dumps(sheet))
            (folder / f"captions_{split}2017.json").write_text("{}")  # another task's, left alone
        return self.root


@pytest.fixture
def coco(tmp_path):
    return Coco(tmp_path / "coco")


@pytest.fixture
def make_pennfudan(tmp_path):
    """Write a zip in the layout of Penn-Fudan; ``change`` may spoil its files before."""

    def make(pictures=9, size=(48, 40), change=None):
        files = {}
        for i in range(pictures):
            boxes = [(6 + i, 5, 26 + i, 34)] if i else []
            image, mask = picture(size, boxes, i)
            files[f"PennFudanPed/PNGImages/P{i:05d}.png"] = png(image)
            files[f"PennFudanPed/PedMasks/P{i:05d}_mask.png"] = png(mask)
        if change:
            change(files)
        path = tmp_path / "ped.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path

    return make


@pytest.fixture
def opened():
    """Open a set as a run does, in this process alone."""

    def open_set(
        name, path, *, augment=None, kinds=None, batch_size=2, batches=0, longest=64, **options
    ):
        spec = DataSpec(name=name, path=str(path), image_px=longest, workers=0, **options)
        plan = BatchPlan(batch_size, 3, batches=batches)
        return open_annotated(
            spec, augment or ObjectAugmentSpec(flip=False), kinds or TargetKinds(), plan
        )

    return open_set
