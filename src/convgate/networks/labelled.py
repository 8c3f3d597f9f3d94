"""Labelled pictures of a folder or zip, and a classifier's accuracy on them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from convgate.errors import InputError
from convgate.networks.card import Card
from convgate.networks.labels import described
from convgate.networks.preprocessing import Preprocessing
from convgate.pictures.archives import Tree, open_tree
from convgate.pictures.decoding import decode
from convgate.pictures.folders import in_training, pictures_in

BATCH = 16


@dataclass(frozen=True)
class Labelled:
    """Pictures of a folder or zip and their classes' numbers."""

    tree: Tree
    files: tuple[str, ...]
    labels: tuple[int, ...]


def open_labelled(path: Path, card: Card, option: str = "--validate") -> Labelled:
    """Find the pictures of a validation folder: CLASS/..., or val/CLASS/... beside train.

    Args:
        path: The folder or zip.
        card: Of the network, whose classes the folders are named after.
        option: What to call the path in an error.

    Raises:
        InputError: if the network's classes are not known, or the folder's are others.
    """
    if not card.classes:
        raise InputError(f"{option} {path}: {card.name} has no class names to look for; use a run")
    tree = open_tree(path)
    numbers = {described(name): number for number, name in enumerate(card.classes)}
    numbers |= {name: number for number, name in enumerate(card.classes)}
    found = [(name, _label(name, numbers)) for name in pictures_in(tree)]
    held_out = [(name, label) for name, label in found if not in_training(name)]
    kept = [(name, label) for name, label in held_out if label is not None]
    if not kept:
        raise InputError(
            f"{option} {path}: has no picture in a folder named after a class, such as "
            f"{card.classes[0]!r}"
        )
    files, labels = zip(*kept, strict=True)
    return Labelled(tree, files, labels)


def accuracy(
    run: Callable[[Tensor], Tensor], labelled: Labelled, images: Preprocessing
) -> dict[str, float]:
    """Return top1 and top5, the shares of right answers in percent.

    Raises:
        CorruptFile: for a damaged picture.
    """
    first = among = 0
    for x, target in _batches(labelled, images):
        with torch.inference_mode():
            logits = run(x)
        best = logits.topk(min(5, logits.shape[1])).indices == target[:, None]
        first += int(best[:, 0].sum())
        among += int(best.any(1).sum())
    count = len(labelled.files)
    return {"top1": round(100 * first / count, 4), "top5": round(100 * among / count, 4)}


def load_inputs(tree: Tree, names: list[str], images: Preprocessing) -> Tensor:
    """Read pictures as inputs, (N, C, H, W).

    Raises:
        CorruptFile: for a damaged picture.
    """
    read = (decode(tree.read(name), f"{tree.where}/{name}") for name in names)
    return torch.stack([images.tensor(picture) for picture in read])


def _batches(labelled: Labelled, images: Preprocessing) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(labelled.files), BATCH):
        part = slice(start, start + BATCH)
        x = load_inputs(labelled.tree, list(labelled.files[part]), images)
        yield x, torch.tensor(labelled.labels[part])


def _label(name: str, numbers: dict[str, int]) -> int | None:
    return next((numbers[part] for part in name.split("/")[:-1] if part in numbers), None)
