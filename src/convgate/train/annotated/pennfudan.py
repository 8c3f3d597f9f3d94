"""The Penn-Fudan pedestrians: 170 photographs with a mask file each, read from the zip or a folder.

Boxes are those of the masks, so that both agree to the pixel.
Source: Wang, Shi, Song, Shen, "Object Detection Combining Recognition and Segmentation", ACCV 2007.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import masks_to_boxes

from convgate.errors import CorruptFile, InputError
from convgate.pictures.archives import Tree
from convgate.pictures.masks import read_numbers
from convgate.pictures.order import generator
from convgate.train.annotated.images import AnnotatedImage, AnnotatedImages, Annotation

PENNFUDAN_CLASSES = ("pedestrian",)
_HELD_OUT = 50 / 170


def read_pennfudan(tree: Tree) -> tuple[tuple[str, ...], AnnotatedImages, AnnotatedImages]:
    """Return the class and both splits, drawn once by a fixed seed: 120 and 50 of the 170."""
    files = tree.files("")
    pictures = [f for f in files if "PNGImages" in f.split("/") and f.lower().endswith(".png")]
    if len(pictures) < 2:
        raise InputError(
            f"{tree.where}: not the Penn-Fudan pedestrians; expected PNGImages/*.png and "
            "PedMasks/*_mask.png"
        )
    items = [_annotated(tree, picture, set(files)) for picture in pictures]
    order = torch.randperm(len(items), generator=generator("pennfudan")).tolist()
    count = max(1, round(len(items) * _HELD_OUT))
    return (
        PENNFUDAN_CLASSES,
        _split(tree, items, order[count:]),
        _split(tree, items, order[:count]),
    )


def _split(tree: Tree, items: Sequence[AnnotatedImage], chosen: Sequence[int]) -> AnnotatedImages:
    return AnnotatedImages(tree, [items[i] for i in sorted(chosen)])


def _annotated(tree: Tree, picture: str, files: set[str]) -> AnnotatedImage:
    mask = picture.replace("PNGImages", "PedMasks")[: -len(".png")] + "_mask.png"
    if mask not in files:
        return AnnotatedImage(picture, fault=f"its mask {mask} is missing")
    try:
        numbers = read_numbers(tree.read(mask), f"{tree.where}/{mask}")
    except CorruptFile as error:
        return AnnotatedImage(picture, fault=str(error))
    size = numbers.shape[1], numbers.shape[0]
    return AnnotatedImage(picture, _annotations(numbers), size, mask)


def _annotations(numbers: Tensor) -> tuple[Annotation, ...]:
    ids = [number for number in torch.unique(numbers).tolist() if number]
    if not ids:
        return ()
    masks = numbers.unsqueeze(0) == torch.tensor(ids).view(-1, 1, 1)
    boxes = (masks_to_boxes(masks) + torch.tensor([0.0, 0.0, 1.0, 1.0])).tolist()
    return tuple(
        Annotation((box[0], box[1], box[2], box[3]), 1, shape=number)
        for box, number in zip(boxes, ids, strict=True)
    )
