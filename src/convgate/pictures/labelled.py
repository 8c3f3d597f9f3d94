"""Labelled pictures that can be decoded one at a time."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import torch
from PIL import Image
from torch import Tensor

from convgate.errors import CorruptFile, InputError
from convgate.pictures.archives import Tree
from convgate.pictures.decoding import decode, from_tensor
from convgate.pictures.order import generator

T = TypeVar("T")
_CHUNK = 256


class Pictures(Protocol):
    """Pictures with one label each."""

    labels: Tensor

    def __len__(self) -> int: ...

    def name(self, index: int) -> str: ...

    def load(self, index: int) -> Image.Image:
        """Decode one picture; raises CorruptFile, which names it."""

    def select(self, indices: Sequence[int]) -> "Pictures": ...


class FilePictures:
    """Pictures in the files of a tree."""

    def __init__(self, tree: Tree, names: Sequence[str], labels: Tensor) -> None:
        self.tree, self.names, self.labels = tree, names, labels

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        return self.names[index]

    def load(self, index: int) -> Image.Image:
        name = self.names[index]
        return decode(self.tree.read(name), f"{self.tree.where}/{name}")

    def select(self, indices: Sequence[int]) -> "FilePictures":
        names = [self.names[i] for i in indices]
        return FilePictures(self.tree, names, self.labels[positions(indices)])


class ArrayPictures:
    """Pictures that are decoded already: uint8 (N, C, H, W)."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return f"picture {index}"

    def load(self, index: int) -> Image.Image:
        return from_tensor(self.images[index])

    def select(self, indices: Sequence[int]) -> "ArrayPictures":
        chosen = positions(indices)
        return ArrayPictures(self.images[chosen], self.labels[chosen])


class HeldPictures:
    """Decoded pictures of any size, kept as they are."""

    def __init__(self, images: Sequence[Image.Image], labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return f"picture {index}"

    def load(self, index: int) -> Image.Image:
        return self.images[index]

    def select(self, indices: Sequence[int]) -> "HeldPictures":
        chosen = [self.images[i] for i in indices]
        return HeldPictures(chosen, self.labels[positions(indices)])


def positions(indices: Sequence[int]) -> Tensor:
    """Return ``indices`` as int64, also when there is none."""
    return torch.tensor(indices, dtype=torch.long)


def decode_all(
    pictures: Pictures, prepare: Callable[[Image.Image], T], *, workers: int, skip_bad: bool
) -> tuple[list[T], list[int], list[str]]:
    """Decode every picture and ``prepare`` it.

    Returns:
        What ``prepare`` made of each good picture, their positions, and the names of the others.
    """

    def attempt(index: int) -> T | CorruptFile:
        try:
            return prepare(pictures.load(index))
        except CorruptFile as problem:
            return problem

    def attempt_chunk(start: int) -> list[T | CorruptFile]:
        return [attempt(i) for i in range(start, min(start + _CHUNK, len(pictures)))]

    kept: list[T] = []
    good: list[int] = []
    skipped: list[str] = []
    with ThreadPoolExecutor(max(1, workers)) as pool:
        chunks = pool.map(attempt_chunk, range(0, len(pictures), _CHUNK))
        for index, result in enumerate(result for chunk in chunks for result in chunk):
            if not isinstance(result, CorruptFile):
                kept.append(result)
                good.append(index)
            elif skip_bad:
                skipped.append(pictures.name(index))
            else:
                pool.shutdown(wait=False, cancel_futures=True)
                raise result
    return kept, good, skipped


def balanced_subset(labels: Tensor, count: int) -> list[int]:
    """Return ``count`` positions, in order, as evenly spread over the classes as they allow.

    Each class is shuffled by a fixed seed; then the classes give one picture each in turn.
    """
    turn = torch.empty_like(labels)
    for label in range(int(labels.max()) + 1):
        members = (labels == label).nonzero().flatten()
        shuffled = torch.randperm(len(members), generator=generator("subset", label))
        turn[members[shuffled]] = torch.arange(len(members))
    order = (turn * (labels.max() + 1) + labels).argsort()
    return sorted(order[:count].tolist())


def held_out(labels: Tensor, share: float) -> tuple[list[int], list[int]]:
    """Part the positions into those to train on and those held out, in order, class by class.

    Each class is shuffled by a fixed seed and gives its share, at least one picture.

    Raises:
        InputError: if a class has a single picture.
    """
    held = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(int(labels.max()) + 1):
        members = (labels == label).nonzero().flatten()
        if len(members) == 1:
            raise InputError(
                f"data.held_out={share}: class {label} has one training picture, and none can be "
                "held out; add some"
            )
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        order = torch.randperm(len(members), generator=generator("search", label))
        held[members[order[: max(count, 0)]]] = True
    return (~held).nonzero().flatten().tolist(), held.nonzero().flatten().tolist()
