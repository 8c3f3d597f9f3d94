"""Pictures with the objects in them, read one at a time."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from convgate.pictures.archives import Tree
from convgate.pictures.decoding import decode, shrink
from convgate.pictures.masks import draw, read_numbers

Shape = tuple["array[float]", ...] | dict[str, Any] | int


@dataclass(frozen=True)
class Annotation:
    # left, top, right, bottom in pixels of the picture; right and bottom are exclusive
    box: tuple[float, float, float, float]
    label: int  # from 1; 0 is the background
    crowd: bool = False  # stands for many objects: left out of training, ignored in scores (COCO)
    difficult: bool = False  # kept in training, ignored in scores (VOC)
    area: float = 0.0  # by which COCO tells small from large; 0 for that of the mask or box
    shape: Shape | None = None  # polygons, a run-length code, or its number in the mask file


@dataclass(frozen=True)
class AnnotatedImage:
    file: str  # its path in the tree
    annotations: tuple[Annotation, ...] = ()  # its objects; there may be none
    size: tuple[int, int] | None = None  # width and height that the annotation claims, if it does
    mask_file: str | None = None  # a picture of the objects' numbers
    class_file: str | None = None  # a picture of the classes of the pixels
    fault: str = ""  # why it cannot be used, if reading the annotation already told


@dataclass(frozen=True)
class Sample:
    """A decoded picture and its objects: boxes (n, 4), masks uint8 (n, H, W), one flag each.

    ``area`` is in pixels of the file. ``shrunk`` is the side of a pixel in pixels of the file, 1
    unless the picture was scaled down.
    """

    image: Image.Image
    boxes: Tensor
    labels: Tensor
    crowd: Tensor
    difficult: Tensor
    area: Tensor
    masks: Tensor | None
    shrunk: float


@dataclass(frozen=True)
class AnnotatedImages:
    """A split: pictures of a tree. ``faults`` are those that belong to no picture of it."""

    tree: Tree
    items: Sequence[AnnotatedImage]
    faults: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    def select(self, indices: Sequence[int]) -> "AnnotatedImages":
        return replace(self, items=[self.items[i] for i in indices])

    def name(self, index: int) -> str:
        return f"{self.tree.where}/{self.items[index].file}"

    def picture(self, index: int) -> Image.Image:
        """Decode one picture; raises CorruptFile, which names it."""
        return decode(self.tree.read(self.items[index].file), self.name(index))

    def sample(self, index: int, longest_px: int, *, masks: bool) -> Sample:
        """Read a picture with its objects, scaled down until no side exceeds ``longest_px``."""
        item, whole = self.items[index], self.picture(index)
        image = shrink(whole, longest_px)
        annotations = item.annotations
        boxes = torch.tensor([a.box for a in annotations], dtype=torch.float32).reshape(-1, 4)
        across, down = (new / old for new, old in zip(image.size, whole.size, strict=True))
        return Sample(
            image,
            _within(boxes * torch.tensor([across, down, across, down]), image.size),
            torch.tensor([a.label for a in annotations], dtype=torch.int64),
            torch.tensor([a.crowd for a in annotations], dtype=torch.bool),
            torch.tensor([a.difficult for a in annotations], dtype=torch.bool),
            torch.tensor([a.area for a in annotations], dtype=torch.float32),
            self._masks(item, whole.size, image.size) if masks else None,
            max(whole.size) / max(image.size),
        )

    def class_map(self, index: int, longest_px: int) -> tuple[Image.Image, Tensor]:
        """Read a picture and the class of each of its pixels, uint8 (H, W); 255 is ignored.

        Objects are painted over one another in order where there is no picture of classes.
        """
        item, whole = self.items[index], self.picture(index)
        image = shrink(whole, longest_px)
        if item.class_file is not None:
            return image, _resize(self._numbers(item.class_file), image.size)
        painted = torch.zeros(image.height, image.width, dtype=torch.uint8)
        masks = self._masks(item, whole.size, image.size)
        for annotation, mask in zip(item.annotations, masks, strict=True):
            painted[mask.bool()] = 255 if annotation.crowd else annotation.label
        return image, painted

    def _masks(
        self, item: AnnotatedImage, size: tuple[int, int], target: tuple[int, int]
    ) -> Tensor:
        numbers = self._numbers(item.mask_file) if item.mask_file else None
        drawn = [
            _resize(draw(annotation.shape, numbers, size), target)
            for annotation in item.annotations
        ]
        return torch.stack(drawn) if drawn else torch.zeros(0, *target[::-1], dtype=torch.uint8)

    def _numbers(self, file: str) -> Tensor:
        return read_numbers(self.tree.read(file), f"{self.tree.where}/{file}")


def _within(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut off what lies beyond the border; annotations often pass it by a rounding."""
    width, height = size
    limits = torch.tensor([width, height, width, height], dtype=torch.float32)
    return boxes.clamp(min=torch.zeros(4), max=limits)


def _resize(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Scale numbers (H, W) to a width and height, each pixel taking its nearest."""
    target = size[::-1]
    if mask.shape == target:
        return mask
    return interpolate(mask[None, None], target, mode="nearest-exact")[0, 0]
