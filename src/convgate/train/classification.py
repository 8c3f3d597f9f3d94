"""Image classification: its data, its loss, its scores."""

from dataclasses import replace
from typing import Any, Self

from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from convgate.networks.origin import images_of
from convgate.networks.preprocessing import Preprocessing
from convgate.train.build import images_per_pass
from convgate.train.data import DataSpec, ImageData, open_data
from convgate.train.recipe import Recipe
from convgate.train.task import Optimise, Task
from convgate.train.trainer import process


class Classification(Task):
    """Cross entropy against class indices or class probabilities; top-1, top-5 and mean loss.

    Shape: x (N, C, H, W), target (N,) indices or (N, K) probabilities -> logits (N, K).
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
        self.loss = MeanMetric()
        self.top1 = MulticlassAccuracy(classes, average="micro", validate_args=False)
        self.top5 = MulticlassAccuracy(
            classes, top_k=min(5, classes), average="micro", validate_args=False
        )

    @classmethod
    def open_data(cls, recipe: Recipe, *, training: bool = True) -> ImageData:
        here = process()
        return open_data(
            _as_learned(recipe),
            recipe.augment,
            batch_size=images_per_pass(recipe),
            seed=recipe.run.seed,
            rank=here.rank,
            world_size=here.world_size,
            batches=recipe.schedule.epoch_updates * recipe.run.accumulate,
        )

    @classmethod
    def create(
        cls, recipe: Recipe, model: nn.Module, classes: int, optimise: Optimise | None = None
    ) -> Self:
        return cls(model, classes, optimise=optimise, channels_last=recipe.run.channels_last)

    @classmethod
    def images(cls, recipe: Recipe, data: Any) -> Preprocessing:
        side = recipe.data.image_px
        size = (data.in_chans, side, side)
        return Preprocessing(input_size=size, mean=data.mean, std=data.std, resize="square")

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x.contiguous(memory_format=self.layout))

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        x, target = batch
        return functional.cross_entropy(self(x).float(), target)

    def on_validation_epoch_start(self) -> None:
        for metric in (self.loss, self.top1, self.top5):
            metric.reset()

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        x, target = batch
        logits = self(x).float()
        self.loss.update(functional.cross_entropy(logits, target), weight=len(target))
        self.top1.update(logits, target)
        self.top5.update(logits, target)

    def scores(self) -> dict[str, float]:
        return {
            "top1": round(100 * float(self.top1.compute()), 4),
            "top5": round(100 * float(self.top5.compute()), 4),
            "val_loss": float(self.loss.compute()),
        }


def prepared_as(recipe: Recipe, images: Preprocessing) -> Recipe:
    """Return a recipe whose pictures are normalised as those of a network that it trained."""
    return replace(recipe, data=replace(recipe.data, mean=images.mean, std=images.std))


def _as_learned(recipe: Recipe) -> DataSpec:
    """Return the recipe's data, normalised as for the weights that the network starts from."""
    noted = images_of(recipe.model) if recipe.data.mean is None else None
    return recipe.data if noted is None else prepared_as(recipe, noted).data
