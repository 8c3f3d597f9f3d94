"""Photographs to look at: found in a folder, a zip archive or a file, and streamed in batches."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from zipfile import is_zipfile

import torch
from torch import Tensor

from convgate.errors import InputError, unknown
from convgate.networks import Preprocessing
from convgate.pictures.archives import FolderTree, Tree, open_tree
from convgate.pictures.decoding import EXTENSIONS
from convgate.pictures.folders import VAL_NAMES
from convgate.pictures.labelled import FilePictures, Pictures, decode_all
from convgate.pictures.order import ValOrder
from convgate.train.data.stream import PreparePicture, StreamSource

OnProgress = Callable[[str, float], None]
BATCH = 32


def find_pictures(
    path: Path, *, count: int = 0, class_name: str = "", skip_bad: bool = False
) -> FilePictures:
    """Return the pictures at a path: those of its validation folder where it has one.

    Args:
        path: A folder or zip archive, with any folders in it, or one picture.
        count: At most so many, taken at even steps through their sorted names; 0 for all.
        class_name: Only those directly in a folder of this name.
        skip_bad: Leave out what cannot be decoded, which takes a pass of its own.

    Raises:
        InputError: if there is no such path, class, or no picture.
    """
    if count < 0:
        raise InputError(f"images={count} leaves no picture; give at least 1, or 0 for all")
    tree, names = _list(path)
    if class_name:
        folders = {PurePosixPath(name).parent.name for name in names}
        if class_name not in folders:
            raise unknown("class", class_name, folders - {""})
        names = [name for name in names if PurePosixPath(name).parent.name == class_name]
    if not names:
        raise InputError(f"{path}: holds no picture ({', '.join(EXTENSIONS)})")
    if 0 < count < len(names):
        names = [names[index * len(names) // count] for index in range(count)]
    pictures = FilePictures(tree, names, torch.zeros(len(names), dtype=torch.long))
    return _without_damaged(pictures) if skip_bad else pictures


def stream(
    pictures: FilePictures,
    images: Preprocessing,
    *,
    batch: int = BATCH,
    workers: int = 0,
    on_progress: OnProgress | None = None,
) -> Iterator[Tensor]:
    """Yield the pictures as a network sees them, uint8 (N, C, H, W), a batch in memory.

    Raises:
        InputError: if the batch is empty.
        CorruptFile: for a damaged picture.
    """
    if batch < 1 or workers < 0:
        raise InputError(f"batch={batch}, workers={workers}: give at least 1 and 0")
    shares = ValOrder(len(pictures), batch).shares(0)
    source = StreamSource(pictures, _Cut(images), workers)
    done = 0
    for pixels, _ in source.load(shares, 0):
        yield pixels
        done += len(pixels)
        if on_progress is not None:
            on_progress(f"{done:,} of {len(pictures):,} pictures", done / len(pictures))


class _Cut(PreparePicture):
    """Cut one picture as a network wants it."""

    def __init__(self, images: Preprocessing) -> None:
        super().__init__(images.image_px)
        self.images = images

    def __call__(self, pictures: Pictures, index: int, epoch: int) -> Tensor:
        return self.images.pixels(pictures.load(index))


def _list(path: Path) -> tuple[Tree, list[str]]:
    if path.is_file() and not is_zipfile(path):
        return FolderTree(path.parent), [path.name]
    tree = open_tree(path)
    names = [name for name in tree.files("") if name.lower().endswith(EXTENSIONS)]
    return tree, _validation(names) or names


def _without_damaged(pictures: FilePictures) -> FilePictures:
    _, good, bad = decode_all(pictures, lambda image: None, workers=2, skip_bad=True)
    if not good:
        raise InputError(f"{pictures.tree.where}: every picture is damaged, {bad[0]} first")
    return pictures.select(good)


def _validation(names: Sequence[str]) -> list[str]:
    """Return those below a folder that is named as validation splits are."""
    return [n for n in names if not set(VAL_NAMES).isdisjoint(PurePosixPath(n).parts[:-1])]
