"""From what a recipe says to batches."""

from dataclasses import dataclass, replace

from convgate.errors import InputError
from convgate.pictures.labelled import Pictures, balanced_subset, held_out
from convgate.pictures.order import TrainOrder, ValOrder
from convgate.train.data.batches import Batches, Finish, Normalise, TaskData
from convgate.train.data.sets import PictureSet, open_set
from convgate.train.data.specs import AugmentSpec, DataSpec
from convgate.train.data.storage import open_sources


@dataclass(frozen=True)
class ImageData(TaskData):
    """The splits of a set of labelled pictures."""

    in_chans: int  # channels of a picture
    image_px: int  # height and width of a picture
    # of each channel in 0 .. 1, taken off before dividing by ``std``: the recipe's; else measured
    # over the training pictures of a set in memory, ImageNet's for a streamed one
    mean: tuple[float, ...]
    std: tuple[float, ...]  # of each channel, in 0 .. 1


def open_data(
    spec: DataSpec,
    augment: AugmentSpec,
    *,
    batch_size: int,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    batches: int = 0,
) -> ImageData:
    """Open a set for training.

    Batches are a pure function of (seed, epoch, batch number): they depend neither on the network
    nor on what was iterated before, so a resumed run sees the same ones.
    """
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}, but must be at least 1")
    if augment.mixes and batch_size % 2:
        raise InputError(f"mixup and cutmix blend pairs: batch_size {batch_size} must be even")
    found = open_set(spec)
    found = replace(found, train=_training(found, spec), val=_validation(found, spec))
    if spec.held_out:
        rest, held = held_out(found.train.labels, spec.held_out)
        found = replace(found, train=found.train.select(rest), val=found.train.select(held))
    opened = open_sources(found, spec, augment, seed)
    train_count, val_count = opened.counts
    order = TrainOrder(
        train_count, batch_size, seed=seed, rank=rank, world_size=world_size, batches=batches
    )
    val_order = ValOrder(val_count, batch_size, rank=rank, world_size=world_size)
    mean = _channels(spec.mean, found.in_chans) or opened.mean
    std = _channels(spec.std, found.in_chans) or opened.std
    normalise = Normalise(mean, std)
    finish = Finish(normalise, augment, len(found.classes), seed)
    return ImageData(
        classes=found.classes,
        in_chans=found.in_chans,
        image_px=spec.image_px,
        mean=mean,
        std=std,
        train=Batches(opened.train, order, finish),
        val=Batches(opened.val, val_order, normalise),
        train_images=train_count,
        val_images=val_count,
        skipped=opened.skipped,
    )


def _channels(values: tuple[float, ...] | None, count: int) -> tuple[float, ...]:
    """Return a value for each channel: one serves all; grey takes the mean of colours."""
    if values is None or len(values) == count:
        return values or ()
    return (sum(values) / len(values),) * count


def _training(found: PictureSet, spec: DataSpec) -> Pictures:
    low, high, count = len(found.classes), len(found.train), spec.train_count
    if not count:
        return found.train
    if not low <= count <= high:
        raise InputError(
            f"train_count is {count}, but must be between {low} (one picture a class) and {high} "
            "(all training pictures), or 0 for all"
        )
    return found.train.select(balanced_subset(found.train.labels, count))


def _validation(found: PictureSet, spec: DataSpec) -> Pictures:
    if not spec.val_count:
        return found.val
    if spec.val_count > len(found.val):
        raise InputError(
            f"val_count is {spec.val_count}, but there are {len(found.val)} validation pictures; "
            "take fewer, or 0 for all"
        )
    return found.val.select(balanced_subset(found.val.labels, spec.val_count))
