"""From what a recipe says to checked annotations, and from those to batches."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from convgate.errors import InputError
from convgate.pictures.archives import Tree, open_tree
from convgate.pictures.labelled import held_out
from convgate.pictures.order import TrainOrder, ValOrder, generator
from convgate.train.annotated.augment import ObjectAugmentSpec
from convgate.train.annotated.batches import (
    ClassTrain,
    ClassVal,
    ObjectTrain,
    ObjectVal,
    PrepareSample,
    SampleSource,
    class_batch,
    object_batch,
)
from convgate.train.annotated.check import check
from convgate.train.annotated.coco import read_coco
from convgate.train.annotated.images import AnnotatedImages
from convgate.train.annotated.pennfudan import read_pennfudan
from convgate.train.annotated.voc import VOC_SETS, read_voc
from convgate.train.data.batches import Batches, TaskData
from convgate.train.data.specs import DataSpec

Splits = tuple[tuple[str, ...], AnnotatedImages, AnnotatedImages]


@dataclass(frozen=True)
class TargetKinds:
    """What a task takes of a picture: boxes, boxes and masks, or the class of each pixel.

    Without ``training`` only the validation split is checked. From the epoch ``single_from`` on,
    counted from 0, a training picture is never a mosaic.
    """

    masks: bool = False
    pixels: bool = False
    training: bool = True
    single_from: int | None = None


@dataclass(frozen=True)
class BatchPlan:
    """How pictures are dealt to this process: ``batch_size`` each, ``batches`` an epoch or all."""

    batch_size: int
    seed: int
    rank: int = 0
    world_size: int = 1
    batches: int = 0

    def train(self, count: int) -> TrainOrder:
        return TrainOrder(
            count,
            self.batch_size,
            seed=self.seed,
            rank=self.rank,
            world_size=self.world_size,
            batches=self.batches,
        )

    def val(self, count: int, batch_size: int) -> ValOrder:
        """Return each validation picture once."""
        return ValOrder(count, batch_size, rank=self.rank, world_size=self.world_size)


def open_annotated(
    spec: DataSpec, augment: ObjectAugmentSpec, kinds: TargetKinds, plan: BatchPlan
) -> TaskData:
    """Read the annotations of a set, check all of them, and prepare its batches.

    As for classification, a batch is a pure function of (seed, epoch, batch number).
    """
    if spec.path is None:
        raise InputError(f"{spec.name}: no path given; set path in [data] or use --data PATH")
    tree = open_tree(Path(spec.path).expanduser())
    classes, train, val = _read(tree, spec.name, kinds.pixels)
    checked, faults = check(
        {"training": train, "validation": val} if kinds.training else {"validation": val},
        classes=len(classes),
        masks=kinds.masks or kinds.pixels,
        skip_bad=spec.skip_bad,
        workers=spec.workers,
    )
    train, val = checked.get("training", train), checked["validation"]
    train, val = _subset(train, spec, "train"), _subset(val, spec, "val")
    if spec.held_out:
        rest, held = held_out(torch.zeros(len(train), dtype=torch.long), spec.held_out)
        val = replace(train, items=[train.items[i] for i in held])
        train = replace(train, items=[train.items[i] for i in rest])
    if not kinds.pixels and not any(item.annotations for item in val.items):
        raise InputError(f"{spec.path}: no validation picture has an object to be found")
    train_batches, val_batches = _batches(train, val, spec, augment, kinds, plan)
    return TaskData(classes, train_batches, val_batches, len(train), len(val), faults)


def _read(tree: Tree, name: str, pixels: bool) -> Splits:
    if name in VOC_SETS:
        return read_voc(tree, name, segment=pixels)
    readers: dict[str, Callable[[Tree], Splits]] = {"coco": read_coco, "pennfudan": read_pennfudan}
    return readers[name](tree)


def _subset(
    images: AnnotatedImages, spec: DataSpec, split: Literal["train", "val"]
) -> AnnotatedImages:
    """Return as many pictures as the data asks for, the same ones for every training seed."""
    count = spec.train_count if split == "train" else spec.val_count
    if not count:
        return images
    if count > len(images):
        words = "training" if split == "train" else "validation"
        raise InputError(f"{split}_count is {count}, but there are {len(images)} {words} pictures")
    chosen = torch.randperm(len(images), generator=generator("subset"))[:count]
    return replace(images, items=[images.items[i] for i in sorted(chosen.tolist())])


def _batches(
    train: AnnotatedImages,
    val: AnnotatedImages,
    spec: DataSpec,
    augment: ObjectAugmentSpec,
    kinds: TargetKinds,
    plan: BatchPlan,
) -> tuple[Batches, Batches]:
    change: PrepareSample
    keep: PrepareSample
    if kinds.pixels:
        change, keep = ClassTrain(spec.image_px, augment, plan.seed), ClassVal(spec.image_px)
    else:
        change = ObjectTrain(
            spec.image_px, augment, plan.seed, masks=kinds.masks, single_from=kinds.single_from
        )
        keep = ObjectVal(spec.image_px, masks=kinds.masks)
    finish = class_batch if kinds.pixels else object_batch
    at_once = 1 if kinds.pixels else plan.batch_size  # classes of pixels: each of its own size
    return (
        Batches(SampleSource(train, change, spec.workers), plan.train(len(train)), finish),
        Batches(SampleSource(val, keep, spec.workers), plan.val(len(val), at_once), finish),
    )
