"""What a run leaves behind: one record an epoch, and the result."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from convgate.errors import CorruptFile
from convgate.train.checkpoint import write_text

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


def write_metrics(out: Path, records: Sequence[EpochRecord]) -> None:
    """Write all epochs to metrics.csv, so that a resumed run leaves one gapless table."""
    text = io.StringIO()
    table = csv.DictWriter(text, [f.name for f in fields(EpochRecord)], lineterminator="\n")
    table.writeheader()
    table.writerows(asdict(record) for record in records)
    write_text(out / METRICS, text.getvalue())


def write_result(result: FitResult) -> None:
    """Write result.json; its presence says that the run is complete."""
    write_text(result.out / RESULT, json.dumps(result.to_dict(), indent=1) + "\n")


def read_result(out: Path) -> FitResult | None:
    """Return the result of a complete run, or None where there is none yet.

    Raises:
        CorruptFile: if the file is damaged or not ours.
    """
    path = out / RESULT
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        epochs = tuple(EpochRecord(**epoch) for epoch in stored.pop("epochs"))
        classes = tuple(stored.pop("classes"))
        return FitResult(**stored, epochs=epochs, classes=classes, out=out)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CorruptFile(
            f"{path}: not the result of a run; delete it to have it written again"
        ) from None
