"""What the Lightning module of every task shares: its network, optimiser and schedule."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import nn

Optimise = Callable[[nn.Module], tuple[torch.optim.Optimizer, Any]]


class Task(LightningModule):
    """A network in training; its state-dict keys carry the prefix ``model.``.

    Args:
        model: The network.
        optimise: Makes the optimiser and a schedule with ``step_update(n)`` for the network; not
            needed to evaluate.
        channels_last: Keep weights, and images where the task can, in channels-last memory format.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        optimise: Optimise | None = None,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.model = model.to(memory_format=self.layout)
        self.optimise = optimise

    def scores(self) -> dict[str, Any]:
        """Return what the record of an epoch holds of the validation just run."""
        raise NotImplementedError

    def configure_optimizers(self) -> Any:
        if self.optimise is None:
            raise TypeError(f"{type(self).__name__}: give optimise= to train it")
        optimizer, schedule = self.optimise(self.model)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        scheduler.step_update(self.trainer.global_step)
