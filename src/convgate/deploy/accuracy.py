"""Images to take ranges from, and accuracy on a folder of labelled ones."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from convgate.deploy.onnx import Forward
from convgate.errors import InputError
from convgate.networks.card import About
from convgate.networks.preprocessing import ImageSpec
from convgate.pictures.archives import Tree, open_tree
from convgate.pictures.decoding import EXTENSIONS, decode

LEAST_CALIBRATION = 32
MOST_CALIBRATION = 300  # the quantiser's own number
BATCH = 16


@dataclass(frozen=True)
class Labelled:
    """Pictures of a folder or zip and their classes' numbers."""

    tree: Tree
    files: tuple[str, ...]
    labels: tuple[int, ...]


def calibration_images(path: Path, images: ImageSpec) -> Tensor:
    """Read pictures for the quantiser, spread evenly over the folder where there are many.

    Where some lie under a folder called train, the others are left alone: they may be meant to
    judge the result.

    Shape: (N, C, H, W).

    Raises:
        InputError: if there are fewer than `LEAST_CALIBRATION`.
        CorruptFile: for a damaged picture.
    """
    tree = open_tree(path)
    every = _pictures(tree)
    files = [name for name in every if _in_training(name)] or every
    if len(files) < LEAST_CALIBRATION:
        raise InputError(
            f"--calibrate {path}: holds {len(files)} pictures, too few to take ranges from; give "
            f"at least {LEAST_CALIBRATION}"
        )
    count = min(len(files), MOST_CALIBRATION)
    chosen = [files[place * len(files) // count] for place in range(count)]
    return torch.stack([_load(tree, name, images) for name in chosen])


def open_labelled(path: Path, about: About) -> Labelled:
    """Find the pictures of a validation folder: CLASS/..., or val/CLASS/... beside train.

    Raises:
        InputError: if the network's classes are not known, or the folder's are others.
    """
    if not about.classes:
        raise InputError(
            f"--validate {path}: {about.name} has no class names to look for; export a run"
        )
    tree = open_tree(path)
    numbers = {name: number for number, name in enumerate(about.classes)}
    found = [(name, _label(name, numbers)) for name in _pictures(tree)]
    held_out = [(name, label) for name, label in found if not _in_training(name)]
    kept = [(name, label) for name, label in held_out if label is not None]
    if not kept:
        raise InputError(
            f"--validate {path}: has no picture in a folder named after a class, such as "
            f"{about.classes[0]!r}"
        )
    files, labels = zip(*kept, strict=True)
    return Labelled(tree, files, labels)


def top1(run: Forward, labelled: Labelled, images: ImageSpec) -> float:
    """Return the share of right answers in percent.

    Raises:
        CorruptFile: for a damaged picture.
    """
    right = 0
    for x, target in _batches(labelled, images):
        with torch.inference_mode():
            right += int((run(x).argmax(1) == target).sum())
    return round(100 * right / len(labelled.files), 4)


def _batches(labelled: Labelled, images: ImageSpec) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(labelled.files), BATCH):
        part = slice(start, start + BATCH)
        x = torch.stack([_load(labelled.tree, name, images) for name in labelled.files[part]])
        yield x, torch.tensor(labelled.labels[part])


def _pictures(tree: Tree) -> list[str]:
    nested = [name for top in tree.folders("") for name in tree.files(top)]
    flat = [name for name in tree.files("") if name.count("/") == 1 and name.startswith("./")]
    return sorted(name for name in (*nested, *flat) if name.lower().endswith(EXTENSIONS))


def _label(name: str, numbers: dict[str, int]) -> int | None:
    return next((numbers[part] for part in name.split("/")[:-1] if part in numbers), None)


def _in_training(name: str) -> bool:
    """Tell whether a folder above the class's is called train."""
    return "train" in name.split("/")[:-2]


def _load(tree: Tree, name: str, images: ImageSpec) -> Tensor:
    return images.tensor(decode(tree.read(name), f"{tree.where}/{name}"))
