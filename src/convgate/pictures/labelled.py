"""Labelled pictures that can be decoded one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor

from convgate.pictures.archives import Tree
from convgate.pictures.decoding import decode, from_tensor
from convgate.pictures.order import generator

__all__ = [
    "ArrayPictures",
    "FilePictures",
    "HeldPictures",
    "Pictures",
    "balanced_subset",
    "positions",
]


class Pictures(Protocol):
    """Pictures with one label each."""

    labels: Tensor

    def __len__(self) -> int: ...

    def name(self, index: int) -> str: ...

    def load(self, index: int) -> Image.Image:
        """Decode one picture; raises CorruptFile, which names it."""

    def select(self, indices: Sequence[int]) -> Pictures: ...


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

    def select(self, indices: Sequence[int]) -> FilePictures:
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

    def select(self, indices: Sequence[int]) -> ArrayPictures:
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

    def select(self, indices: Sequence[int]) -> HeldPictures:
        chosen = [self.images[i] for i in indices]
        return HeldPictures(chosen, self.labels[positions(indices)])


def positions(indices: Sequence[int]) -> Tensor:
    """Return ``indices`` as int64, also when there is none."""
    return torch.tensor(indices, dtype=torch.long)


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
