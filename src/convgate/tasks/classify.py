"""Image classification as one Lightning module: model, loss, metrics."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

Optimise = Callable[[nn.Module], tuple[torch.optim.Optimizer, Any]]


class Classifier(LightningModule):
    """Cross entropy against class indices or class probabilities; top-1, top-5 and mean loss.

    The state-dict keys of the network carry the prefix ``model.``.

    Shape: x (N, C, H, W), target (N,) indices or (N, K) probabilities -> logits (N, K).

    Args:
        model: The network.
        classes: K.
        optimise: Makes the optimiser and a schedule with ``step_update(n)`` for the network; not
            needed to evaluate.
        channels_last: Feed images in channels-last memory format.
    """

    def __init__(
        self,
        model: nn.Module,
        classes: int,
        *,
        optimise: Optimise | None = None,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.model = model.to(memory_format=layout)
        self.layout = layout
        self.optimise = optimise
        self.loss = MeanMetric()
        self.top1 = MulticlassAccuracy(classes, average="micro", validate_args=False)
        self.top5 = MulticlassAccuracy(
            classes, top_k=min(5, classes), average="micro", validate_args=False
        )

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
        """Return val_loss, and top1 and top5 in percent, of the validation just run."""
        return {
            "val_loss": float(self.loss.compute()),
            "top1": round(100 * float(self.top1.compute()), 4),
            "top5": round(100 * float(self.top5.compute()), 4),
        }

    def configure_optimizers(self) -> Any:
        if self.optimise is None:
            raise TypeError("Classifier: give optimise= to train it")
        optimizer, schedule = self.optimise(self.model)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        scheduler.step_update(self.trainer.global_step)
