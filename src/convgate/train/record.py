"""What a run leaves behind: one record an epoch, and the result."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from convgate.errors import CorruptFile
from convgate.insertion import describe_movement
from convgate.storage import RESULT, write_csv, write_text
from convgate.tables import Readable, Table

METRICS = "metrics.csv"
_WORDS = {
    "ap": "AP", "ap50": "AP50", "ap75": "AP75", "ap11": "AP, 11 points", "miou": "mean IoU",
    "voc": "VOC", "top1": "top-1", "top5": "top-5",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One epoch, counted from 1."""

    epoch: int
    train_loss: float  # mean over the epoch
    scores: dict[str, float]  # of the validation, the main one first; percent, but for losses
    lr: float  # the rate of its last update
    images_per_s: float  # of training alone, over all processes
    seconds: float  # includes validation

    def row(self) -> dict[str, float]:
        table: dict[str, Any] = asdict(self)
        scores = table.pop("scores")
        start = {key: table.pop(key) for key in ("epoch", "train_loss")}
        return start | scores | table


@dataclass(frozen=True, kw_only=True, repr=False)
class RunResult(Readable):
    """A finished run; the scores are those of the last epoch, never of the best one."""

    # as in `EpochRecord`: top1, top5 and val_loss; box_ap, mask_ap, voc_ap and their like; or miou
    # and pixel_accuracy
    scores: dict[str, float]
    epochs: tuple[EpochRecord, ...]
    params: int
    classes: tuple[str, ...]
    train_images: int
    val_images: int
    skipped: int  # how many damaged pictures or faults of the data were left out
    seconds: float  # sums the epochs over all interruptions
    out: Path
    started_from: str = "random weights"  # what the network had learned before
    trained_params: int = 0  # of ``params``; the others are frozen
    # the scores before the first step, of a network that starts from weights
    before: dict[str, float] = field(default_factory=dict)
    # by how much each inserted gate changes its input at the end, as `measure_movement` says
    moved: dict[str, float] = field(default_factory=dict)

    @property
    def score(self) -> float:
        return next(iter(self.scores.values()))

    def to_dict(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if k != "out"}

    def table(self) -> Table:
        """Return a row for each score, and what they are of."""
        return score_table(self.scores, self.line.partition("  on ")[2])

    @property
    def line(self) -> str:
        """The first scores and what they are of, in one line."""
        skipped = f"; left out as faulty: {self.skipped}" if self.skipped else ""
        moved = f"; {describe_movement(self.moved)}" if self.moved else ""
        learned = self.started_from != RunResult.started_from
        origin = f"; from {self.started_from}" if learned else ""
        return (
            f"{format_scores(self.scores, 3)}  on {self.val_images:,} images  "
            f"epochs {len(self.epochs)}  {self.seconds:,.0f} s{origin}{skipped}{moved}"
        )


def score_table(scores: dict[str, float], note: str) -> Table:
    """Return a table of scores, with what they are of below it."""
    rows = [_words(key, value) for key, value in scores.items()]
    return Table(("score", "value"), rows, "lr", notes=(f"on {note}",))


def format_scores(scores: dict[str, float], count: int | None = None) -> str:
    """Return the first scores as text, such as "box AP 31.20 %  box AP50 55.00 %"."""
    return "  ".join(" ".join(_words(key, value)) for key, value in list(scores.items())[:count])


def _words(key: str, value: float) -> tuple[str, str]:
    name = " ".join(_WORDS.get(word, word) for word in key.split("_"))
    return name, f"{value:.4f}" if key.endswith("loss") else f"{value:.2f} %"


def write_metrics(out: Path, records: Sequence[EpochRecord], before: dict[str, float]) -> None:
    """Write all epochs to metrics.csv, so that a resumed run leaves one gapless table.

    The scores before the first step, where there are some, are those of epoch 0.
    """
    rows: list[dict[str, Any]] = [record.row() for record in records]
    if before:
        rows.insert(0, dict.fromkeys(rows[0], "") | {"epoch": 0} | before)
    write_csv(out / METRICS, rows)


def write_result(result: RunResult) -> None:
    write_text(result.out / RESULT, json.dumps(result.to_dict(), indent=1) + "\n")


def read_result(out: Path) -> RunResult | None:
    """Return the result of a complete run, or None where there is none yet."""
    path = out / RESULT
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        epochs = tuple(EpochRecord(**epoch) for epoch in stored.pop("epochs"))
        classes = tuple(stored.pop("classes"))
        return RunResult(**stored, epochs=epochs, classes=classes, out=out)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CorruptFile(
            f"{path}: not the result of a run; delete it to have it written again"
        ) from None
