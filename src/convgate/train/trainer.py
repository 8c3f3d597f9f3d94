"""Lightning's Trainer, set up for one run on the processes that there are."""

import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException

from convgate.errors import InputError
from convgate.storage import load_checkpoint, replacing
from convgate.train.data.batches import Batches
from convgate.train.sections import RunSpec


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, replaced in one step and loaded without running code."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        with replacing(Path(path)) as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # how torch reports that the file refused a write
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        return load_checkpoint(Path(path))


PRECISION: dict[str, Any] = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}


@dataclass(frozen=True)
class Process:
    """Which of the processes that `torchrun` or Ray Train started this one is."""

    rank: int
    world_size: int
    local_world_size: int


def process() -> Process:
    """Read the place of this process from the environment that `torchrun` sets."""
    names = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    given = {name: os.environ.get(name, default) for name, default in names.items()}
    wrong = next((name for name, text in given.items() if not text.isdecimal()), None)
    if wrong:
        raise InputError(
            f"{wrong}={given[wrong]!r} in the environment is no number; unset it, or start with "
            "torchrun, which sets it"
        )
    return Process(*map(int, given.values()))


class Epochs:
    """Batches that ask for the epoch when the first of them is taken, not earlier."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches
        self.trainer: Trainer | None = None

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        self.batches.set_epoch(self.trainer.current_epoch if self.trainer else 0)
        yield from self.batches


def run_trainer(
    run: RunSpec,
    epochs: int,
    task: LightningModule,
    loaders: tuple[Epochs, Batches],
    callbacks: Sequence[Callback],
    resume: Path | None,
    *,
    score_first: bool = False,
) -> None:
    """Train ``task`` for ``epochs`` epochs, from ``resume`` on where it is given.

    ``score_first`` validates before the first step, as Lightning's sanity check of all batches.
    """
    trainer = _trainer(
        run,
        max_epochs=epochs,
        accumulate_grad_batches=run.accumulate,
        gradient_clip_val=run.clip_grad or None,
        callbacks=list(callbacks),
        num_sanity_val_steps=-1 if score_first else 0,
        **_processes(),
    )
    loaders[0].trainer = trainer
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(task, loaders[0], loaders[1], ckpt_path=resume, weights_only=True)
    except SIGTERMException:
        raise KeyboardInterrupt from None
    except SystemExit as stopped:
        if not isinstance(stopped.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, interrupt)  # Lightning left it ignored
        raise KeyboardInterrupt from None


def run_validation(run: RunSpec, task: LightningModule, batches: Batches) -> None:
    """Score ``task`` on one device, in the precision that the run trains in."""
    _trainer(run, devices=1, enable_checkpointing=False).validate(task, batches, verbose=False)


def _trainer(run: RunSpec, **options: Any) -> Trainer:
    device = _device()
    if run.dtype == "float16" and device == "cpu":
        raise InputError("run.dtype='float16' needs a GPU; set run.dtype to 'bfloat16'")
    return Trainer(
        accelerator=device,
        precision=PRECISION[run.dtype],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **options,
    )


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _processes() -> dict[str, Any]:
    here = process()
    files = AtomicCheckpointIO()
    if here.world_size == 1:
        return {"devices": 1, "plugins": [files]}
    placed = {
        "devices": here.local_world_size,
        "num_nodes": here.world_size // here.local_world_size,
    }
    if "ray.train" in sys.modules and not torch.distributed.is_torchelastic_launched():
        from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment

        return placed | {
            "strategy": RayDDPStrategy(),
            "plugins": [files, RayLightningEnvironment()],
        }
    backend = "nccl" if _device() == "cuda" else "gloo"
    return placed | {"strategy": DDPStrategy(process_group_backend=backend), "plugins": [files]}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep notes and hints of Lightning and timm to themselves for as long as the block runs."""
    names = ("lightning.pytorch", "lightning.fabric", "timm.scheduler")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", message="Grad strides do not match")  # DDP, 1x1 convs
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
