"""Score the weights that a run left behind."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from convgate.errors import InputError
from convgate.tasks.classify import Classifier
from convgate.train.build import open_run_data
from convgate.train.trained import read_trained
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
    trained = read_trained(run, data)
    recipe, classes, in_chans = trained.recipe, trained.classes, trained.in_chans
    with quiet():
        opened = open_run_data(recipe)
        if (opened.classes, opened.in_chans) != (classes, in_chans):
            raise InputError(
                f"{trained.path}: trained on {len(classes)} classes with {in_chans} channels, but "
                f"the data has {len(opened.classes)} with {opened.in_chans}, or names them "
                "otherwise"
            )
        task = Classifier(trained.build(), len(classes), channels_last=recipe.run.channels_last)
        run_validation(recipe.run, task, opened.val)
    return Evaluation(**task.scores(), images=opened.val_images, weights=trained.path)
