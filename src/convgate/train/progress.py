"""How a run shows itself: a bar on a terminal, one line an epoch elsewhere."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from convgate.train.optim import base_rate
from convgate.train.record import EpochRecord, format_scores

REFRESH_S = 0.25


def describe(record: EpochRecord, epochs: int) -> str:
    return (
        f"epoch {record.epoch}/{epochs}  loss {record.train_loss:.4f}  "
        f"{format_scores(record.scores, 3)}  rate {record.lr:.2e}  "
        f"{record.images_per_s:,.0f} img/s  {record.seconds:.1f} s"
    )


class Lines(Callback):
    """Print one line an epoch, on standard error."""

    def __init__(self, epochs: int, console: Console | None = None) -> None:
        self.epochs = epochs
        self.console = console or Console(stderr=True, highlight=False)

    def on_epoch(self, record: EpochRecord) -> None:
        self.console.print(describe(record, self.epochs), soft_wrap=True)


class Bar(Lines):
    """A bar over the whole run with loss, rate, images per second and the time left."""

    def __init__(self, epochs: int, console: Console | None = None) -> None:
        super().__init__(epochs, console)
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[numbers]}"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=True,
        )
        self.task = TaskID(0)
        self.seen_at = 0.0
        self.images = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        batches = int(trainer.num_training_batches)
        self.task = self.bar.add_task(
            "run",
            total=self.epochs * batches,
            completed=trainer.current_epoch * batches,
            epoch=f"{trainer.current_epoch + 1}/{self.epochs}",
            numbers="",
        )
        self.bar.start()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seen_at, self.images = time.perf_counter(), 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.images += len(batch[1]) * trainer.world_size
        now = time.perf_counter()
        if now - self.seen_at < REFRESH_S:
            return
        rate = base_rate(trainer.optimizers[0])
        loss = float(outputs["loss"]) * trainer.accumulate_grad_batches
        speed = self.images / (now - self.seen_at)
        self.bar.update(
            self.task,
            completed=trainer.current_epoch * trainer.num_training_batches + batch_idx + 1,
            epoch=f"{trainer.current_epoch + 1}/{self.epochs}",
            numbers=f"{speed:,.0f} img/s  loss {loss:.4f}  rate {rate:.2e}",
        )
        self.seen_at, self.images = now, 0

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.bar.stop()
