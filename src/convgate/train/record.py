"""What a run leaves behind: one record an epoch, and the result."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from convgate.errors import CorruptFile
from convgate.storage import write_text

RESULT = "result.json"
METRICS = "metrics.csv"


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One epoch, counted from 1: mean losses, accuracy in percent, the rate of its last update.

    ``images_per_s`` counts training alone over all processes; ``seconds`` includes validation.
    """

    epoch: int
    train_loss: float
    val_loss: float
    top1: float
    top5: float
    lr: float
    images_per_s: float
    seconds: float

    def row(self) -> dict[str, float]:
        """Return one row of a table."""
        return asdict(self)

    def shown(self) -> str:
        """Return its scores as a line shows them."""
        return f"val loss {self.val_loss:.4f}  top-1 {self.top1:.2f} %"

    def final(self) -> dict[str, Any]:
        """Return what the result of a run takes of its last epoch."""
        return {"top1": self.top1, "top5": self.top5, "val_loss": self.val_loss}


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """A finished run; the scores are those of the last epoch, never of the best one.

    ``top1`` and ``top5`` are in percent; ``seconds`` sums the epochs over all interruptions.
    """

    top1: float
    top5: float
    val_loss: float
    epochs: tuple[EpochRecord, ...]
    params: int
    classes: tuple[str, ...]
    train_images: int
    val_images: int
    skipped: int
    seconds: float
    out: Path

    def to_dict(self) -> dict[str, Any]:
        """Return the result for JSON, without the folder it lies in."""
        return {k: v for k, v in asdict(self).items() if k != "out"}


class Accuracy(Protocol):
    """What a result and an evaluation of classification have."""

    @property
    def top1(self) -> float: ...
    @property
    def top5(self) -> float: ...
    @property
    def val_loss(self) -> float: ...


def show_accuracy(scores: Accuracy) -> str:
    """Return the scores of a classifier as text."""
    return f"top-1 {scores.top1:.2f} %  top-5 {scores.top5:.2f} %  val loss {scores.val_loss:.4f}"


class Epoch(Protocol):
    """What the record of any task's epoch has."""

    @property
    def epoch(self) -> int: ...
    @property
    def train_loss(self) -> float: ...
    @property
    def lr(self) -> float: ...
    @property
    def images_per_s(self) -> float: ...
    @property
    def seconds(self) -> float: ...

    def row(self) -> dict[str, float]: ...
    def shown(self) -> str: ...
    def final(self) -> dict[str, Any]: ...


class Result(Protocol):
    """What the result of any task has."""

    @property
    def out(self) -> Path: ...

    def to_dict(self) -> dict[str, Any]: ...


E = TypeVar("E", bound=Epoch)
R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class Records(Generic[E, R]):
    """The records of one kind of task."""

    epoch: Callable[..., E]
    result: Callable[..., R]


CLASSIFIED = Records(EpochRecord, FitResult)


def write_metrics(out: Path, records: Sequence[Epoch]) -> None:
    """Write all epochs to metrics.csv, so that a resumed run leaves one gapless table."""
    rows = [record.row() for record in records]
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(out / METRICS, text.getvalue())


def write_result(result: Result) -> None:
    """Write result.json; its presence says that the run is complete."""
    write_text(result.out / RESULT, json.dumps(result.to_dict(), indent=1) + "\n")


def read_result(out: Path) -> FitResult | None:
    """Return the result of a complete run of classification, or None where there is none yet.

    Raises:
        CorruptFile: if the file is damaged or not ours.
    """
    return read_result_of(CLASSIFIED, out)


def read_result_of(records: Records[E, R], out: Path) -> R | None:
    """Return the result of a complete run, or None where there is none yet.

    Raises:
        CorruptFile: if the file is damaged, not ours, or of another kind of task.
    """
    path = out / RESULT
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        epochs = tuple(records.epoch(**epoch) for epoch in stored.pop("epochs"))
        classes = tuple(stored.pop("classes"))
        return records.result(**stored, epochs=epochs, classes=classes, out=out)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CorruptFile(
            f"{path}: not the result of a run; delete it to have it written again"
        ) from None
