"""What happens around the steps: random state, loss check, records, checkpoints."""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor, distributed
from torch.utils.tensorboard import SummaryWriter

from convgate.errors import Diverged
from convgate.storage import LAST, STATE
from convgate.train.optim import base_rate
from convgate.train.record import EpochRecord, write_metrics

OnEpoch = Callable[[EpochRecord], None]


class EpochSeed(Callback):
    """Restart torch's random numbers at each epoch from (seed, epoch, process).

    Dropout and stochastic depth then draw the same numbers in a resumed run as in an unbroken one.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == 0:
            text = f"{self.seed}/{trainer.current_epoch}/{trainer.global_rank}"
            digest = hashlib.blake2b(text.encode(), digest_size=7).digest()
            torch.manual_seed(int.from_bytes(digest))


class LossGuard(Callback):
    """Sum the training loss, and stop at the first step where it is not finite.

    On an accelerator the losses are looked at every 25 steps, since each look waits for the device.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.recent: list[Tensor] = []
        self.total = 0.0
        self.steps = 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.recent, self.total, self.steps = [], 0.0, 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Lightning divides the loss that it returns by the number of accumulated passes
        self.recent.append(outputs["loss"].detach() * trainer.accumulate_grad_batches)
        every = 1 if pl_module.device.type == "cpu" else 25
        if len(self.recent) >= every:
            self.settle(trainer)

    def settle(self, trainer: Trainer) -> None:
        """Bring the losses since the last look to the host."""
        for loss in torch.stack(self.recent).tolist() if self.recent else []:
            self.steps += 1
            if not math.isfinite(loss):
                raise diverged(f"the loss is {loss}", trainer, self.steps, self.out)
            self.total += loss
        self.recent = []

    def mean(self, trainer: Trainer) -> float:
        """Return the mean loss of the epoch over all steps and processes."""
        self.settle(trainer)
        mean = torch.tensor(self.total / max(1, self.steps), dtype=torch.float64)
        if trainer.world_size > 1:
            mean = trainer.strategy.reduce(mean.to(trainer.strategy.root_device))
        return float(mean)


def diverged(what: str, trainer: Trainer, step: int, out: Path) -> Diverged:
    """Build the error for a run that has left the finite numbers."""
    kept = f"; {out / LAST} holds epoch {trainer.current_epoch}" if trainer.current_epoch else ""
    return Diverged(
        f"{what} in epoch {trainer.current_epoch + 1}, step {step}; lower optimizer.lr, warm up "
        f"longer or set run.clip_grad{kept}"
    )


class Recorder(Checkpoint):
    """Close each epoch: record, checkpoint, tables, and then tell whoever listens.

    Args:
        out: The folder of the run.
        guard: Knows the mean training loss.
        records: The epochs of an earlier, interrupted part of this run.
        before: The scores before the first step, known from that part.
        state: What the checkpoint keeps besides Lightning's own state; plain values only.
        on_epoch: Called with each record once its checkpoint is on the disk.
    """

    def __init__(
        self,
        out: Path,
        guard: LossGuard,
        records: Sequence[EpochRecord],
        before: dict[str, float],
        state: dict[str, Any],
        on_epoch: Sequence[OnEpoch],
    ) -> None:
        self.out = out
        self.guard = guard
        self.records = list(records)
        self.before = before
        self.state = state
        self.on_epoch = on_epoch
        self.images = 0
        self.started = self.trained = 0.0
        self.writer: SummaryWriter | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            folder = str(self.out / "tensorboard")
            self.writer = SummaryWriter(folder, purge_step=len(self.records) + 1)

    def on_sanity_check_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.before = pl_module.scores()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.images, self.started = 0, time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: tuple[Any, Sequence[Any] | Tensor],
        batch_idx: int,
    ) -> None:
        self.images += len(batch[1]) * trainer.world_size

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.guard.settle(trainer)  # also waits for the device, so that the time is honest
        self.trained = time.perf_counter()

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.world_size > 1:  # each process has seen other images; rank 0's statistics count
            for buffer in pl_module.buffers():
                distributed.broadcast(buffer, 0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        record = self._close(trainer, pl_module)
        val_loss = record.scores.get("val_loss", 0.0)  # detectors have none
        if not math.isfinite(val_loss):
            what = f"the validation loss is {val_loss}"
            raise diverged(what, trainer, self.guard.steps, self.out)
        self.records.append(record)
        trainer.save_checkpoint(self.out / LAST)
        if self.writer is not None:
            write_metrics(self.out, self.records, self.before)
            for name, value in record.row().items():
                self.writer.add_scalar(name, value, record.epoch)
            self.writer.flush()
        for listener in self.on_epoch:
            listener(record)

    def _close(self, trainer: Trainer, pl_module: Any) -> EpochRecord:
        train_loss = self.guard.mean(trainer)
        return EpochRecord(
            epoch=trainer.current_epoch + 1,
            train_loss=train_loss,
            lr=self.rate,
            images_per_s=self.images / (self.trained - self.started),
            seconds=time.perf_counter() - self.started,
            scores=pl_module.scores(),
        )

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self.rate = base_rate(optimizer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        records = [asdict(record) for record in self.records]
        checkpoint[STATE] = {**self.state, "records": records, "before": self.before}

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.writer is not None:
            self.writer.close()
