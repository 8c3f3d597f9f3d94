"""Recipe in, trained weights and result out; the same call continues what was interrupted."""

from pathlib import Path

from convgate.errors import InputError
from convgate.tasks.classify import Classifier
from convgate.tasks.task import Optimise
from convgate.train.build import build_model, open_run_data
from convgate.train.callbacks import OnEpoch
from convgate.train.job import Job, carry_out
from convgate.train.recipe import Recipe
from convgate.train.record import CLASSIFIED, FitResult

__all__ = ["build_model", "fit"]


def fit(
    recipe: Recipe,
    out: str | Path,
    *,
    progress: bool | None = None,
    on_epoch: OnEpoch | None = None,
) -> FitResult:
    """Train the classifier that ``recipe`` describes into the folder ``out``.

    A folder that holds a checkpoint of the same recipe is continued, bit for bit as if it had
    never stopped (on a CPU); one that holds its finished result returns that at once. Under
    `torchrun` the processes share each batch.

    Args:
        recipe: The run.
        out: Gets recipe.toml, last.ckpt, metrics.csv, tensorboard/, and at the end
            weights.safetensors and result.json.
        progress: True for a bar, False for silence, None for a bar on a terminal and one line an
            epoch elsewhere.
        on_epoch: Called after each epoch, once its checkpoint is on the disk.

    Raises:
        InputError: if ``out`` holds another recipe's run, the data or the recipe is wrong or of
            another task, or the loss is no longer finite (the last good checkpoint stays).
        KeyboardInterrupt: on Ctrl-C or SIGTERM; the run can be continued.
    """
    if recipe.task.name != "classify":
        raise InputError(f"the recipe's task is {recipe.task.name}, which is not classification")
    return carry_out(recipe, Path(out), CLASSIFIED, _open, progress, on_epoch)


def _open(recipe: Recipe) -> Job:
    data = open_run_data(recipe)
    classes = len(data.classes)
    model = build_model(recipe, num_classes=classes, in_chans=data.in_chans)

    def task(optimise: Optimise) -> Classifier:
        return Classifier(model, classes, optimise=optimise, channels_last=recipe.run.channels_last)

    return Job(data, model, task, data.in_chans)
