"""Sets in the layout that their authors publish, read through torchvision; nothing is downloaded.

The CIFAR archives are Python pickles, which could run code. torchvision compares the checksum of
each file with the published one before it opens any, so only the authors' own files are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torchvision import datasets

from convgate.errors import CorruptFile
from convgate.pictures.archives import FolderTree
from convgate.pictures.labelled import ArrayPictures, FilePictures, Pictures

__all__ = ["OFFICIAL_FOLDERS", "read_official"]

OFFICIAL_FOLDERS = {
    "cifar10": "cifar-10-batches-py",
    "cifar100": "cifar-100-python",
    "flowers102": "flowers-102",
    "stanford_cars": "stanford_cars",
    "fgvc_aircraft": "fgvc-aircraft-2013b",
}
Splits = tuple[tuple[str, ...], Pictures, Pictures]


def read_official(name: str, path: Path) -> Splits | None:
    """Return classes, training and validation pictures, or None if ``path`` has no such layout.

    ``path`` is the folder above the set's own one (``OFFICIAL_FOLDERS``), or that one itself.
    Validation is the published test split. Training is everything else: for Flowers-102 and
    FGVC-Aircraft that is their training and validation splits together.

    Raises:
        CorruptFile: if files are missing, altered or damaged.
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
