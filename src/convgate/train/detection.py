"""Detection and segmentation: their data, their losses, their scores."""

from typing import Any, Self

import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassConfusionMatrix

from convgate.errors import InputError
from convgate.networks.preprocessing import Preprocessing
from convgate.networks.specs import DetectorSpec
from convgate.train.annotated import BatchPlan, ObjectAugmentSpec, TargetKinds, open_annotated
from convgate.train.annotated.voc import VOC_SETS
from convgate.train.build import images_per_pass
from convgate.train.data.batches import TaskData
from convgate.train.metrics import AveragePrecision
from convgate.train.recipe import Recipe
from convgate.train.task import Optimise, Task
from convgate.train.trainer import process

IGNORED = 255
Objects = tuple[list[Tensor], list[dict[str, Tensor]]]


def detector_of(recipe: Recipe) -> DetectorSpec:
    if recipe.detector is None:
        raise InputError(f"the recipe's task is {recipe.task.name}; it has no detector")
    return recipe.detector


def closing_from(recipe: Recipe) -> int | None:
    """Return the first of the closing epochs, counted from 0."""
    schedule = recipe.schedule
    return schedule.epochs - schedule.closing_epochs if schedule.closing_epochs else None


class AnnotatedTask(Task):
    """What detection and segmentation share: annotated pictures of any size."""

    pixels = False
    """Whether the class of each pixel is learned, and not objects."""

    @classmethod
    def open_data(cls, recipe: Recipe, *, training: bool = True) -> TaskData:
        if recipe.data.mean is not None:
            raise InputError(
                "data.mean and data.std are for classification; a detector takes its backbone's"
            )
        here = process()
        plan = BatchPlan(
            images_per_pass(recipe),
            recipe.run.seed,
            here.rank,
            here.world_size,
            recipe.schedule.epoch_updates * recipe.run.accumulate,
        )
        kinds = TargetKinds(
            masks=detector_of(recipe).has_masks,
            pixels=cls.pixels,
            training=training,
            single_from=closing_from(recipe),
        )
        augment = recipe.augment_objects or ObjectAugmentSpec()
        return open_annotated(recipe.data, augment, kinds, plan)

    @classmethod
    def images(cls, recipe: Recipe, data: TaskData) -> Preprocessing:
        side = recipe.data.image_px  # a detector normalises by itself
        zeros, ones = (0.0,) * 3, (1.0,) * 3
        return Preprocessing(input_size=(3, side, side), mean=zeros, std=ones, resize="shrink")


class Detection(AnnotatedTask):
    """The sum of a detector's losses in training; average precision in validation.

    ``first`` names the score that counts; from the epoch ``closing_from`` on, counted from 0, the
    network's ``closing`` is set.
    """

    def __init__(
        self,
        model: nn.Module,
        precision: AveragePrecision,
        first: str,
        *,
        closing_from: int | None = None,
        optimise: Optimise | None = None,
        channels_last: bool = False,
    ) -> None:
        super().__init__(model, optimise=optimise, channels_last=channels_last)
        self.precision, self.first = precision, first
        self.closing_from = closing_from

    @classmethod
    def create(
        cls, recipe: Recipe, model: nn.Module, classes: int, optimise: Optimise | None = None
    ) -> Self:
        masks, voc = detector_of(recipe).has_masks, recipe.data.name in VOC_SETS
        return cls(
            model,
            AveragePrecision(masks=masks, voc=voc),
            "mask_ap" if masks else "voc_ap" if voc else "box_ap",
            closing_from=closing_from(recipe),
            optimise=optimise,
            channels_last=recipe.run.channels_last,
        )

    def on_train_epoch_start(self) -> None:
        if self.closing_from is not None:
            network: Any = self.model
            network.closing = self.current_epoch >= self.closing_from

    def training_step(self, batch: Objects, index: int) -> Tensor:
        images, targets = batch
        return torch.stack([loss.float() for loss in self.model(images, targets).values()]).sum()

    def on_validation_epoch_start(self) -> None:
        self.precision.reset()

    def validation_step(self, batch: Objects, index: int) -> None:
        images, targets = batch
        if images:  # one of several processes may have run out of them
            self.precision.update(images, self.model(images), targets)

    def scores(self) -> dict[str, float]:
        found = self.precision.compute()
        return {self.first: found[self.first], **found}


class Segmentation(AnnotatedTask):
    """Cross entropy of each pixel in training; mean IoU and pixel accuracy in validation.

    Args:
        model: Takes images and class maps as `create_segmenter` says.
        classes: Background included.
        optimise: As in `Task`.
        channels_last: As in `Task`.
    """

    pixels = True

    def __init__(
        self,
        model: nn.Module,
        classes: int,
        *,
        optimise: Optimise | None = None,
        channels_last: bool = False,
    ) -> None:
        super().__init__(model, optimise=optimise, channels_last=channels_last)
        self.confusion = MulticlassConfusionMatrix(
            classes, ignore_index=IGNORED, validate_args=False
        )

    @classmethod
    def create(
        cls, recipe: Recipe, model: nn.Module, classes: int, optimise: Optimise | None = None
    ) -> Self:
        layout = recipe.run.channels_last
        return cls(model, classes + 1, optimise=optimise, channels_last=layout)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        x, classes = batch
        return self.model(x.contiguous(memory_format=self.layout), classes)["loss"].float()

    def on_validation_epoch_start(self) -> None:
        self.confusion.reset()

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        x, classes = batch
        if len(x):  # one of several processes may have run out of pictures
            logits = self.model(x.contiguous(memory_format=self.layout))
            self.confusion.update(logits.argmax(1), classes)

    def scores(self) -> dict[str, float]:
        return iou_scores(self.confusion.compute())


def iou_scores(confusion: Tensor) -> dict[str, float]:
    """Return miou, over the classes that occur, and pixel_accuracy, in percent.

    Shape: confusion (K, K) counts, true classes down, predicted across.
    """
    counts = confusion.double()
    right, union = counts.diag(), counts.sum(0) + counts.sum(1) - counts.diag()
    occurs = union > 0
    return {
        "miou": round(100 * float((right[occurs] / union[occurs]).mean()), 4),
        "pixel_accuracy": round(100 * float(right.sum() / counts.sum()), 4),
    }
