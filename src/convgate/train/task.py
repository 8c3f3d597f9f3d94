"""What every task of training is: data, loss and scores around a network."""

from collections.abc import Callable
from typing import Any, Self

import torch
from lightning.pytorch import LightningModule
from torch import nn

from convgate.networks.preprocessing import Preprocessing
from convgate.train.data.batches import TaskData
from convgate.train.recipe import Recipe

Optimise = Callable[[nn.Module], tuple[torch.optim.Optimizer, Any]]


class Task(LightningModule):
    """A network in training; its state-dict keys carry the prefix ``model.``.

    A task is one subclass: how its data is opened, what its loss is, and what its scores are.

    Args:
        model: The network.
        optimise: Makes the optimiser and a schedule with ``step_update(n)`` for the network; not
            needed to evaluate.
        channels_last: Keep weights, and images where the task can, in channels-last memory format.
    """

    def __init__(
        self, model: nn.Module, *, optimise: Optimise | None = None, channels_last: bool = False
    ) -> None:
        super().__init__()
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.model = model.to(memory_format=self.layout)
        self.optimise = optimise
        self.still: list[str] = []
        """The paths of the network's modules that stay in evaluation mode."""

    def train(self, mode: bool = True) -> Self:
        """Switch the mode of all that is not frozen."""
        super().train(mode)
        for path in self.still:
            self.model.get_submodule(path).training = False  # not eval(), which takes gates along
        return self

    @classmethod
    def open_data(cls, recipe: Recipe, *, training: bool = True) -> TaskData:
        """Open the data of a run as this process sees it; without ``training``, to score alone."""
        raise NotImplementedError

    @classmethod
    def create(
        cls, recipe: Recipe, model: nn.Module, classes: int, optimise: Optimise | None = None
    ) -> Self:
        """Wrap a network as the recipe says."""
        raise NotImplementedError

    @classmethod
    def images(cls, recipe: Recipe, data: TaskData) -> Preprocessing:
        """Return how a picture becomes an input of the network."""
        raise NotImplementedError

    def scores(self) -> dict[str, float]:
        """Return the scores of the validation just run, the one that counts first."""
        raise NotImplementedError

    def configure_optimizers(self) -> Any:
        if self.optimise is None:
            raise TypeError(f"{type(self).__name__}: give optimise= to train it")
        optimizer, schedule = self.optimise(self.model)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        scheduler.step_update(self.trainer.global_step)
