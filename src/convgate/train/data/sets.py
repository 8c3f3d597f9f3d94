"""The named sets: where their pictures and labels come from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from sklearn.datasets import load_digits

from convgate.errors import InputError
from convgate.pictures.archives import Tree, open_tree
from convgate.pictures.folders import Listing, read_listing
from convgate.pictures.labelled import ArrayPictures, FilePictures, Pictures
from convgate.pictures.order import generator
from convgate.train.data.official import OFFICIAL_FOLDERS, read_official
from convgate.train.data.specs import DataSpec

__all__ = ["PictureSet", "open_set"]

_DIGITS_VAL_PER_CLASS = 36


@dataclass(frozen=True)
class PictureSet:
    """A training and a validation split over the same classes."""

    classes: tuple[str, ...]
    in_chans: int
    train: Pictures
    val: Pictures


def open_set(spec: DataSpec) -> PictureSet:
    """Find the pictures that ``spec`` names; files are not decoded yet.

    Raises:
        InputError: if the path is missing, or holds neither an image-folder tree nor the set's
            official layout.
        CorruptFile: if an archive or an official file is damaged.
    """
    if spec.name == "digits":
        if spec.path is not None:
            raise InputError(f"digits come with scikit-learn; remove path {spec.path!r}")
        return _digits()
    if spec.path is None:
        raise InputError(f"{spec.name}: no path given; set path in [data] or use --data PATH")
    path = Path(spec.path).expanduser()
    official = read_official(spec.name, path)
    if official is not None:
        classes, train, val = official
        return PictureSet(classes, 3, train, val)
    return _from_tree(open_tree(path), OFFICIAL_FOLDERS.get(spec.name))


def _digits() -> PictureSet:
    """1,797 scanned digits, 8 x 8, from scikit-learn; 36 of each class are for validation.

    The split is drawn once by a fixed seed: 1,437 training and 360 validation pictures.
    """
    bunch = load_digits()
    labels = torch.from_numpy(bunch.target).long()
    grey = torch.from_numpy(bunch.images)  # 0 .. 16
    images = (grey * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(10):
        members = (labels == label).nonzero().flatten()
        order = torch.randperm(len(members), generator=generator("digits", label))
        held_out[members[order[:_DIGITS_VAL_PER_CLASS]]] = True
    every = ArrayPictures(images, labels)
    return PictureSet(
        tuple(str(label) for label in range(10)),
        1,
        every.select((~held_out).nonzero().flatten().tolist()),
        every.select(held_out.nonzero().flatten().tolist()),
    )


def _from_tree(tree: Tree, official: str | None) -> PictureSet:
    train, val = read_listing(tree, official)
    return PictureSet(tuple(train), 3, _files(tree, train, train), _files(tree, val, train))


def _files(tree: Tree, split: Listing, classes: Iterable[str]) -> FilePictures:
    labels = {name: label for label, name in enumerate(classes)}
    names = [file for files in split.values() for file in files]
    numbers = [labels[name] for name, files in split.items() for _ in files]
    return FilePictures(tree, names, torch.tensor(numbers))
