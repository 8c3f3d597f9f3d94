"""Pictures in folders: one folder a split, one folder a class, or simply all that lie there."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal
from zipfile import is_zipfile

import torch

from convgate.errors import InputError, unknown
from convgate.pictures.archives import FolderTree, Tree, open_tree
from convgate.pictures.decoding import EXTENSIONS
from convgate.pictures.labelled import FilePictures, decode_all
from convgate.pictures.order import generator

VAL_NAMES = ("val", "validation", "valid", "test")
_EXPECTED = (
    "expected train/CLASS/*.jpg and val/CLASS/*.jpg (val may also be called validation or test), "
    "or set data.val_share to hold out a part of CLASS/*.jpg"
)
Listing = dict[str, list[str]]  # class -> its files


def find_pictures(
    path: Path,
    *,
    count: int = 0,
    class_name: str | Sequence[str] = "",
    split: Literal["val", "train", ""] = "val",
    skip_bad: bool = False,
) -> FilePictures:
    """Return the pictures at a path, in the order of their names; every label is 0.

    Args:
        path: A folder or zip archive, with any folders in it, or one picture of any name.
        count: At most so many, taken at even steps through their names; 0 for all.
        class_name: Only those directly in a folder of this name, or of one of these.
        split: "val" leaves training pictures out where there are others: those below a folder
            called val, validation, valid or test are taken, or else those not below train/CLASS.
            "train" takes those below train/CLASS where there are some. "" takes all.
        skip_bad: Leave out what cannot be decoded, which takes a pass of its own.
    """
    if count < 0:
        raise InputError(f"images={count} leaves no picture; give at least 1, or 0 for all")
    tree, names = _everything(path)
    names = _of_split(names, split)
    if class_name:
        wanted = [class_name] if isinstance(class_name, str) else list(class_name)
        folders = {PurePosixPath(name).parent.name for name in names}
        if folders.isdisjoint(wanted):
            raise unknown("class", wanted[0], folders - {""})
        names = [name for name in names if PurePosixPath(name).parent.name in wanted]
    if not names:
        raise InputError(f"{path}: holds no picture ({', '.join(EXTENSIONS)})")
    if 0 < count < len(names):
        names = [names[index * len(names) // count] for index in range(count)]
    pictures = FilePictures(tree, names, torch.zeros(len(names), dtype=torch.long))
    return _without_damaged(pictures) if skip_bad else pictures


def _everything(path: Path) -> tuple[Tree, list[str]]:
    if not path.exists():
        raise InputError(f"{path}: no such folder, zip archive or picture")
    if path.is_file() and not (is_zipfile(path) or path.suffix.lower() == ".zip"):
        return FolderTree(path.parent), [path.name]
    tree = open_tree(path)
    return tree, pictures_in(tree)


def _of_split(names: list[str], split: str) -> list[str]:
    if split == "train":
        return [name for name in names if in_training(name)] or names
    if split == "val":
        below = [n for n in names if not set(VAL_NAMES).isdisjoint(PurePosixPath(n).parts[:-1])]
        return below or [name for name in names if not in_training(name)] or names
    return names


def in_training(name: str) -> bool:
    """Tell whether a folder above the class's is called train; a class may be called so too."""
    return "train" in PurePosixPath(name).parts[:-2]


def _without_damaged(pictures: FilePictures) -> FilePictures:
    _, good, bad = decode_all(pictures, lambda image: None, workers=2, skip_bad=True)
    if not good:
        raise InputError(f"{pictures.tree.where}: every picture is damaged, {bad[0]} first")
    return pictures.select(good)


def read_listing(
    tree: Tree, official: str | None = None, val_share: float = 0.0
) -> tuple[Listing, Listing]:
    """Return the training and the validation files of an image-folder tree.

    Args:
        tree: train/CLASS/... and val/CLASS/...; with ``val_share``, also train/CLASS/... alone or
            CLASS/... alone.
        official: The folder of a set's own layout, to name it in an error.
        val_share: Share of each class that is held out where there is no validation folder, always
            the same pictures.
    """
    top = _find_splits(tree, official, always=val_share > 0)
    found = tree.folders(top)
    val_name = next((name for name in VAL_NAMES if name in found), None)
    if val_share and val_name is None:
        return _hold_out(tree, f"{top}/train" if "train" in found else top, val_share)
    if "train" not in found or val_name is None:
        missing = "validation" if "train" in found else "training"
        raise InputError(f"{tree.where}: no {missing} folder; {_EXPECTED}")
    train = _list_classes(tree, f"{top}/train")
    val = _list_classes(tree, f"{top}/{val_name}")
    extra = sorted(set(val) - set(train))
    if extra:
        raise InputError(
            f"{tree.where}: {val_name} has class {', '.join(map(repr, extra))}, which train lacks; "
            "add its training pictures or remove it"
        )
    return train, val


def _hold_out(tree: Tree, top: str, share: float) -> tuple[Listing, Listing]:
    """Part each class, drawn by its name: at least one picture for each split."""
    train, val = {}, {}
    for name, files in _list_classes(tree, top).items():
        if len(files) < 2:
            raise InputError(
                f"{tree.where}: class {name!r} has one picture, and none can be held out; add some"
            )
        count = min(max(round(share * len(files)), 1), len(files) - 1)
        order = torch.randperm(len(files), generator=generator("held out", name)).tolist()
        held = set(order[:count])
        train[name] = [file for i, file in enumerate(files) if i not in held]
        val[name] = [file for i, file in enumerate(files) if i in held]
    return train, val


def _list_classes(tree: Tree, split: str) -> Listing:
    split = split.lstrip("/")
    folders = {name: f"{split}/{name}".lstrip("/") for name in tree.folders(split)}
    listing = {name: pictures_in(tree, folder) for name, folder in folders.items()}
    if not listing:
        raise InputError(f"{tree.where}: {split or 'it'} holds no class folder; {_EXPECTED}")
    empty = [name for name, files in listing.items() if not files]
    if empty:
        raise InputError(
            f"{tree.where}: {split or 'it'} has no picture in class "
            f"{', '.join(map(repr, empty))}; add pictures or remove the folder"
        )
    return listing


def pictures_in(tree: Tree, folder: str = "") -> list[str]:
    """Return the picture files below a folder of a tree ("" is the top), in order."""
    return [name for name in tree.files(folder) if name.lower().endswith(EXTENSIONS)]


def _find_splits(tree: Tree, official: str | None, *, always: bool) -> str:
    """Return the folder that holds the splits: the top, or an only folder below it.

    Where there are no splits, ``always`` returns the folder that has several others or none.
    """
    top = ""
    for _ in range(3):
        found = tree.folders(top)
        if "train" in found or any(name in found for name in VAL_NAMES):
            return top
        if len(found) != 1:
            break
        top = f"{top}/{found[0]}".lstrip("/")
    if always:
        return top
    other = f", or the official folder {official}" if official else ""
    raise InputError(f"{tree.where}: no folder named train in it; {_EXPECTED}{other}")
