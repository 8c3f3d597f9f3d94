"""Detection and segmentation as Lightning modules: network, loss, scores."""

from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassConfusionMatrix

from convgate.tasks.task import Optimise, Task
from convgate.train.metrics import AveragePrecision

__all__ = ["Detection", "Segmentation"]

IGNORED = 255
Objects = tuple[list[Tensor], list[dict[str, Tensor]]]


class Detection(Task):
    """The sum of a detector's losses in training; average precision in validation.

    Args:
        model: Takes images and targets as `create_detector` says.
        precision: Collects what is found.
        first: The score that counts.
        closing_from: The epoch, from 0, from which the network's ``closing`` is set.
        optimise: As in `Task`.
        channels_last: As in `Task`.
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

    def scores(self) -> dict[str, Any]:
        """Return the average precisions of the validation just run, in percent."""
        found = self.precision.compute()
        return {"scores": {self.first: found[self.first], **found}}


class Segmentation(Task):
    """Cross entropy of each pixel in training; mean IoU and pixel accuracy in validation.

    Args:
        model: Takes images and class maps as `create_segmenter` says.
        classes: Background included.
        optimise: As in `Task`.
        channels_last: As in `Task`.
    """

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

    def scores(self) -> dict[str, Any]:
        """Return miou and pixel_accuracy in percent of the validation just run."""
        return {"scores": iou_scores(self.confusion.compute())}


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
