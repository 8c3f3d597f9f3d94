"""The named sets: where their pictures and labels come from; nothing is downloaded.

Layouts that the authors publish are read through torchvision. The CIFAR archives are Python
pickles, which could run code: torchvision compares the checksum of each file with the published one
before it opens any, so only the authors' own files are read.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torchvision import datasets

from convgate.errors import CorruptFile, InputError
from convgate.pictures.archives import FolderTree, Tree, open_tree
from convgate.pictures.folders import Listing, read_listing
from convgate.pictures.labelled import ArrayPictures, FilePictures, Pictures
from convgate.pictures.order import generator
from convgate.train.data.specs import DataSpec

OFFICIAL_FOLDERS = {
    "cifar10": "cifar-10-batches-py",
    "cifar100": "cifar-100-python",
    "flowers102": "flowers-102",
    "stanford_cars": "stanford_cars",
    "fgvc_aircraft": "fgvc-aircraft-2013b",
}
Splits = tuple[tuple[str, ...], Pictures, Pictures]
_DIGITS_VAL_PER_CLASS = 36


def read_official(name: str, path: Path) -> Splits | None:
    """Return classes, training and validation pictures, or None if ``path`` has no such layout.

    ``path`` is the folder above the set's own one (``OFFICIAL_FOLDERS``), or that one itself.
    Validation is the published test split. Training is everything else: for Flowers-102 and
    FGVC-Aircraft that is their training and validation splits together.
    """
    folder = OFFICIAL_FOLDERS.get(name)
    if folder is None:
        return None
    root = path.parent if path.name == folder else path
    if not (root / folder).is_dir():
        return None
    try:
        return _READERS[name](root)
    except (RuntimeError, OSError, LookupError, TypeError, ValueError, NotImplementedError):
        raise CorruptFile(
            f"{root / folder}: not the published files of {name} (some are missing, altered or "
            "damaged); unpack the original archive again"
        ) from None


@dataclass(frozen=True)
class _Arrays:
    """A set that torchvision holds as one array (N, H, W, C)."""

    dataset: Callable[..., Any]

    def __call__(self, root: Path) -> Splits:
        train, val = (self.dataset(root, train=part, download=False) for part in (True, False))
        return tuple(train.classes), self._pictures(train), self._pictures(val)

    def _pictures(self, split: Any) -> ArrayPictures:
        images = torch.from_numpy(split.data).permute(0, 3, 1, 2)
        return ArrayPictures(images, torch.tensor(split.targets))


@dataclass(frozen=True)
class _Files:
    """A set that torchvision holds as paths and labels."""

    dataset: Callable[..., Any]
    train: Sequence[str]
    val: Sequence[str]

    def __call__(self, root: Path) -> Splits:
        classes = tuple(str(name) for name in self.dataset(root, split=self.val[0]).classes)
        return (
            classes,
            self._pictures(root, self.train, len(classes)),
            self._pictures(root, self.val, len(classes)),
        )

    def _pictures(self, root: Path, splits: Sequence[str], classes: int) -> FilePictures:
        # With str as the loader, an item is a path and a label.
        parts = [self.dataset(root, split=split, loader=str) for split in splits]
        items = [part[i] for part in parts for i in range(len(part))]
        names = [Path(path).relative_to(root).as_posix() for path, _ in items]
        labels = [int(label) for _, label in items]
        if not labels or min(labels) < 0 or max(labels) >= classes:
            raise ValueError("no label, or one without a class")
        return FilePictures(FolderTree(root), names, torch.tensor(labels))


_READERS: dict[str, Callable[[Path], Splits]] = {
    "cifar10": _Arrays(datasets.CIFAR10),
    "cifar100": _Arrays(datasets.CIFAR100),
    "flowers102": _Files(datasets.Flowers102, ("train", "val"), ("test",)),
    "stanford_cars": _Files(datasets.StanfordCars, ("train",), ("test",)),
    "fgvc_aircraft": _Files(datasets.FGVCAircraft, ("trainval",), ("test",)),
}


@dataclass(frozen=True)
class PictureSet:
    """A training and a validation split over the same classes."""

    classes: tuple[str, ...]
    in_chans: int
    train: Pictures
    val: Pictures


def open_set(spec: DataSpec) -> PictureSet:
    """Find the pictures that ``spec`` names; files are not decoded yet."""
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
    return _from_tree(open_tree(path), spec)


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


def _from_tree(tree: Tree, spec: DataSpec) -> PictureSet:
    train, val = read_listing(tree, OFFICIAL_FOLDERS.get(spec.name), spec.val_share)
    return PictureSet(tuple(train), 3, _files(tree, train, train), _files(tree, val, train))


def _files(tree: Tree, split: Listing, classes: Iterable[str]) -> FilePictures:
    labels = {name: label for label, name in enumerate(classes)}
    names = [file for files in split.values() for file in files]
    numbers = [labels[name] for name, files in split.items() for _ in files]
    return FilePictures(tree, names, torch.tensor(numbers))
