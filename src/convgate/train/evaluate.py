"""Score the weights that a run left behind."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from convgate.tasks.classify import Classifier
from convgate.train.trained import Trained, open_trained_data, read_trained
from convgate.train.trainer import quiet, run_validation


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores on a validation split; ``top1`` and ``top5`` in percent."""

    top1: float
    top5: float
    val_loss: float
    images: int
    weights: Path

    def to_dict(self) -> dict[str, Any]:
        """Return the scores for JSON."""
        return asdict(self) | {"weights": str(self.weights)}


def evaluate(run: str | Path, *, data: str | Path | None = None) -> Evaluation:
    """Score weights on the validation split of the data they were trained on.

    Args:
        run: The folder of a finished run, or a weights file that one left.
        data: Where the data lies now, if not where the recipe says.

    Raises:
        InputError: for a run that is not finished, or data with other classes.
        CorruptFile: for a weights file that is damaged or not ours.
    """
    return evaluate_run(read_trained(run, data))


def evaluate_run(trained: Trained) -> Evaluation:
    """Score a run that was read already; as `evaluate`."""
    opened = open_trained_data(trained)
    settings, classes = trained.recipe.run, len(trained.classes)
    task = Classifier(trained.network(), classes, channels_last=settings.channels_last)
    with quiet():
        run_validation(settings, task, opened.val)
    return Evaluation(**task.scores(), images=opened.val_images, weights=trained.path)
