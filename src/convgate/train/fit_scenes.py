"""The fit of detection and segmentation."""

from pathlib import Path

from convgate.errors import InputError
from convgate.tasks.task import Optimise, Task
from convgate.train.callbacks import OnEpoch
from convgate.train.job import Job, carry_out
from convgate.train.recipe import Recipe
from convgate.train.scene_build import build_scene_model, create_task, open_scene_data
from convgate.train.scene_record import SCENE_RECORDS, SceneResult

__all__ = ["fit_scenes"]


def fit_scenes(
    recipe: Recipe,
    out: str | Path,
    *,
    progress: bool | None = None,
    on_epoch: OnEpoch | None = None,
) -> SceneResult:
    """Train the detector or segmenter that ``recipe`` describes into the folder ``out``, as `fit`.

    All annotations are checked before the first step.

    Raises:
        InputError: as `fit`, and for faulty annotations (unless ``data.skip_bad``).
        KeyboardInterrupt: on Ctrl-C or SIGTERM; the run can be continued.
    """
    if recipe.task.name == "classify":
        raise InputError("the recipe's task is classification; it has no objects to find")
    return carry_out(recipe, Path(out), SCENE_RECORDS, _open, progress, on_epoch)


def _open(recipe: Recipe) -> Job:
    data = open_scene_data(recipe)
    classes = len(data.classes)
    model = build_scene_model(recipe, num_classes=classes)

    def task(optimise: Optimise) -> Task:
        return create_task(recipe, model, classes, optimise)

    return Job(data, model, task, in_chans=3)
