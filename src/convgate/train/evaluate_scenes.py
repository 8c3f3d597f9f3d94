"""Score the weights that a run of detection or segmentation left behind."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from convgate.errors import InputError
from convgate.train.scene_build import build_scene_model, create_task, open_scene_data
from convgate.train.trained import Trained
from convgate.train.trainer import quiet, run_validation

__all__ = ["SceneEvaluation", "evaluate_scenes"]


@dataclass(frozen=True, kw_only=True)
class SceneEvaluation:
    """Scores on a validation split in percent, the one that counts first."""

    scores: dict[str, float]
    images: int
    skipped: int
    weights: Path

    def to_dict(self) -> dict[str, Any]:
        """Return the scores for JSON."""
        return asdict(self) | {"weights": str(self.weights)}


def evaluate_scenes(stored: Trained) -> SceneEvaluation:
    """Score a run on the validation split of the data that it was trained on.

    Raises:
        InputError: for data with other classes or faulty annotations, or a run of classification.
        CorruptFile: for weights that do not fit their recipe.
    """
    recipe, classes = stored.recipe, len(stored.classes)
    with quiet():
        data = open_scene_data(recipe, training=False)
        if data.classes != stored.classes:
            raise InputError(
                f"{stored.path}: trained on {classes} classes, but the data has "
                f"{len(data.classes)}, or names them otherwise"
            )
        model = build_scene_model(recipe, num_classes=classes)
        stored.load_into(model)
        task = create_task(recipe, model, classes)
        run_validation(recipe.run, task, data.val)
    return SceneEvaluation(
        **task.scores(),
        images=data.val_images,
        skipped=len(data.skipped),
        weights=stored.path,
    )
