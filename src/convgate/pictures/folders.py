"""Image-folder trees: one folder a split, one folder a class."""

from __future__ import annotations

from convgate.errors import InputError
from convgate.pictures.archives import Tree
from convgate.pictures.decoding import EXTENSIONS

__all__ = ["VAL_NAMES", "Listing", "read_listing"]

VAL_NAMES = ("val", "validation", "valid", "test")
_EXPECTED = (
    "expected train/CLASS/*.jpg and val/CLASS/*.jpg (val may also be called validation or test)"
)
Listing = dict[str, list[str]]  # class -> its files


def read_listing(tree: Tree, official: str | None = None) -> tuple[Listing, Listing]:
    """Return the training and the validation files of an image-folder tree.

    Args:
        tree: train/CLASS/... and val/CLASS/..., at the top or below one only folder.
        official: another layout to name where this one is not found.

    Raises:
        InputError: if a split is missing or empty, a class has no picture, or validation has a
            class that training lacks.
    """
    top = _find_splits(tree, official)
    found = tree.folders(top)
    val_name = next((name for name in VAL_NAMES if name in found), None)
    if "train" not in found or val_name is None:
        missing = "validation" if "train" in found else "training"
        raise InputError(f"{tree.where}: no {missing} folder; {_EXPECTED}")
    train = _list_classes(tree, f"{top}/train".lstrip("/"))
    val = _list_classes(tree, f"{top}/{val_name}".lstrip("/"))
    extra = sorted(set(val) - set(train))
    if extra:
        raise InputError(
            f"{tree.where}: {val_name} has class {', '.join(map(repr, extra))}, which train lacks; "
            "add its training pictures or remove it"
        )
    return train, val


def _list_classes(tree: Tree, split: str) -> Listing:
    """Return class -> picture files of one split, in order."""
    listing = {name: _pictures(tree, f"{split}/{name}") for name in tree.folders(split)}
    if not listing:
        raise InputError(f"{tree.where}: {split} holds no class folder; {_EXPECTED}")
    empty = [name for name, files in listing.items() if not files]
    if empty:
        raise InputError(
            f"{tree.where}: {split} has no picture in class {', '.join(map(repr, empty))}; add "
            "pictures or remove the folder"
        )
    return listing


def _pictures(tree: Tree, folder: str) -> list[str]:
    return [name for name in tree.files(folder) if name.lower().endswith(EXTENSIONS)]


def _find_splits(tree: Tree, official: str | None) -> str:
    """Return the folder that holds the splits: the top, or an only folder below it."""
    top = ""
    for _ in range(3):
        found = tree.folders(top)
        if "train" in found or any(name in found for name in VAL_NAMES):
            return top
        if len(found) != 1:
            break
        top = f"{top}/{found[0]}".lstrip("/")
    other = f", or the official folder {official}" if official else ""
    raise InputError(f"{tree.where}: no folder named train in it; {_EXPECTED}{other}")
