"""What a finished run left: its recipe, its classes, its weights, and the network they make."""

import json
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from convgate import spec
from convgate.errors import CorruptFile, InputError
from convgate.storage import LAST, WEIGHTS, load_weights
from convgate.train.build import build_model, open_run_data
from convgate.train.data import ImageData
from convgate.train.recipe import Recipe
from convgate.train.trainer import quiet


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished run of any task.

    Args:
        path: Its weights file.
        recipe: Its recipe, without the weights that it started from.
        classes: Names, in the order of the outputs.
        in_chans: Channels of its images.
        weights: What was trained.
        mean: Of each channel in 0 .. 1; None where the run did not note it.
        std: Of each channel in 0 .. 1; None where the run did not note it.
    """

    path: Path
    recipe: Recipe
    classes: tuple[str, ...]
    in_chans: int
    weights: dict[str, Tensor]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def network(self) -> nn.Module:
        """Build the classifier with its weights, in evaluation mode.

        Raises:
            InputError: if it was trained to do something else.
            CorruptFile: if the weights do not fit the recipe.
        """
        self.check_classifies()
        model = build_model(self.recipe, num_classes=len(self.classes), in_chans=self.in_chans)
        self.load_into(model)
        return model.eval()

    def check_classifies(self) -> None:
        """Raise InputError for a run of another task."""
        if self.recipe.task.name != "classify":
            raise InputError(f"{self.path}: trained to {self.recipe.task.name}, not to classify")

    def load_into(self, model: nn.Module) -> None:
        """Load the weights into what the recipe built; raises CorruptFile if they do not fit."""
        try:
            model.load_state_dict(self.weights)
        except RuntimeError as error:
            raise CorruptFile(f"{self.path}: does not fit its own recipe ({error})") from None

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and deviation of each channel: as noted, else of the run's data again.

        Raises:
            InputError: if they are not noted and the data are not where they were.
        """
        if self.mean is not None and self.std is not None:
            return self.mean, self.std
        try:
            opened = open_trained_data(self)
        except InputError as error:
            raise InputError(
                f"{self.path}: does not say how its images were normalised, and its data cannot be "
                f"read ({error}); name the place of its data"
            ) from None
        return opened.mean, opened.std


def read_trained(run: str | Path, data: str | Path | None = None) -> Trained:
    """Read the weights of a run and what it notes about them.

    Args:
        run: The folder of a finished run, or a weights file that one left.
        data: Where its data lies now, if not where the recipe says.

    Raises:
        InputError: for a run that is not finished.
        CorruptFile: for a weights file that is damaged or not ours.
    """
    path = weights_of(Path(run))
    weights, metadata = load_weights(path)
    try:
        table = tomllib.loads(metadata["recipe"])
        classes, in_chans = tuple(json.loads(metadata["classes"])), int(metadata["in_chans"])
        mean, std = (_numbers(metadata, key) for key in ("mean", "std"))
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFile(f"{path}: its description is damaged ({error!r})") from None
    recipe = spec.parse(Recipe, table, name=str(path))
    start = replace(recipe.model, weights=None)  # what it started from is no longer needed
    return Trained(
        path=path,
        recipe=_with_data(replace(recipe, model=start), path, data),
        classes=classes,
        in_chans=in_chans,
        weights=weights,
        mean=mean,
        std=std,
    )


def task_of(run: Path) -> str:
    """Return the task of a run or its weights; "classify" for every other file or folder."""
    path = run / WEIGHTS if run.is_dir() else run
    if path.suffix != ".safetensors" or not path.is_file():
        return "classify"
    _, metadata = load_weights(path)
    return read_trained(path).recipe.task.name if "recipe" in metadata else "classify"


def open_trained_data(trained: Trained) -> ImageData:
    """Open the images that a classifier was trained on.

    Raises:
        InputError: for a run of another task, data with other classes or channels, or none.
    """
    trained.check_classifies()
    with quiet():
        opened = open_run_data(trained.recipe)
    if (opened.classes, opened.in_chans) != (trained.classes, trained.in_chans):
        raise InputError(
            f"{trained.path}: trained on {len(trained.classes)} classes with {trained.in_chans} "
            f"channels, but the data has {len(opened.classes)} with {opened.in_chans}, or names "
            "them otherwise"
        )
    return opened


def weights_of(run: Path) -> Path:
    """Return the weights file of a run, given as its folder or as that file.

    Raises:
        InputError: if there is none.
    """
    if not run.exists():
        raise InputError(f"{run}: there is no such file or folder")
    if run.is_file():
        return run
    if not (run / WEIGHTS).is_file():
        state = "not finished; train it to its end" if (run / LAST).is_file() else "not a run"
        raise InputError(f"{run}: {state}; it holds no {WEIGHTS}")
    return run / WEIGHTS


def _numbers(metadata: dict[str, str], key: str) -> tuple[float, ...] | None:
    return tuple(float(x) for x in json.loads(metadata[key])) if key in metadata else None


def _with_data(recipe: Recipe, weights: Path, data: str | Path | None) -> Recipe:
    """Prefer the place that is asked for, then the one in the folder's own recipe."""
    beside = weights.with_name("recipe.toml")
    if data is None and beside.is_file():
        place = spec.load(Recipe, beside).data.path
    else:
        place = None if data is None else str(data)
    return replace(recipe, data=replace(recipe.data, path=place))
