"""Image classification as one Lightning module: model, loss, metrics."""

from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from convgate.tasks.task import Optimise, Task


class Classifier(Task):
    """Cross entropy against class indices or class probabilities; top-1, top-5 and mean loss.

    Shape: x (N, C, H, W), target (N,) indices or (N, K) probabilities -> logits (N, K).

    Args:
        model: The network.
        classes: K.
        optimise: As in `Task`.
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
        super().__init__(model, optimise=optimise, channels_last=channels_last)
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
