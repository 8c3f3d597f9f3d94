"""What a run of detection or segmentation leaves behind."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from convgate.train.record import Records

__all__ = ["SCENE_RECORDS", "SceneEpoch", "SceneResult", "show_scores"]


@dataclass(frozen=True, kw_only=True)
class SceneEpoch:
    """One epoch, counted from 1, as in `EpochRecord`.

    ``scores`` are in percent, the one that counts first: those of `train.metrics`, or miou and
    pixel_accuracy.
    """

    epoch: int
    train_loss: float
    scores: dict[str, float]
    lr: float
    images_per_s: float
    seconds: float

    def row(self) -> dict[str, float]:
        """Return one row of a table, a column a score."""
        table: dict[str, Any] = asdict(self)
        scores = table.pop("scores")
        start = {key: table.pop(key) for key in ("epoch", "train_loss")}
        return start | scores | table

    def shown(self) -> str:
        """Return its scores as a line shows them."""
        return show_scores(self.scores, most=2)

    def final(self) -> dict[str, Any]:
        """Return what the result of a run takes of its last epoch."""
        return {"scores": self.scores}


@dataclass(frozen=True, kw_only=True)
class SceneResult:
    """A finished run; the scores are those of the last epoch, never of the best one.

    ``scores`` as in `SceneEpoch`; ``skipped`` counts the faults of the data that were left out;
    ``seconds`` sums the epochs over all interruptions.
    """

    scores: dict[str, float]
    epochs: tuple[SceneEpoch, ...]
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


SCENE_RECORDS = Records(SceneEpoch, SceneResult)

_NAMES = {
    "ap": "AP", "ap50": "AP50", "ap75": "AP75", "ap11": "AP, 11 points", "miou": "mean IoU",
}  # fmt: skip


def show_scores(scores: dict[str, float], most: int | None = None) -> str:
    """Return the first scores as text, such as "box AP 31.20 %  box AP50 55.00 %"."""
    return "  ".join(f"{_name(key)} {value:.2f} %" for key, value in list(scores.items())[:most])


def _name(key: str) -> str:
    words = [{"voc": "VOC"}.get(word, _NAMES.get(word, word)) for word in key.split("_")]
    return " ".join(words)
