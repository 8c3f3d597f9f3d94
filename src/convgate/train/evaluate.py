"""Score the weights that a run left behind."""

import json
import tomllib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from convgate import spec
from convgate.errors import CorruptFile, InputError
from convgate.tasks.classify import Classifier
from convgate.train.build import build_model, open_run_data
from convgate.train.checkpoint import LAST, WEIGHTS, load_weights
from convgate.train.recipe import Recipe
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


@dataclass(frozen=True)
class StoredRun:
    """What a finished run left: its weights, the recipe they were trained by, and the classes."""

    path: Path
    weights: dict[str, Tensor]
    recipe: Recipe
    classes: tuple[str, ...]
    in_chans: int

    def load_into(self, model: nn.Module) -> None:
        """Load the weights into what the recipe built; raises CorruptFile if they do not fit."""
        try:
            model.load_state_dict(self.weights)
        except RuntimeError as error:
            raise CorruptFile(f"{self.path}: does not fit its own recipe ({error})") from None


def evaluate(run: str | Path, *, data: str | Path | None = None) -> Evaluation:
    """Score weights on the validation split of the data they were trained on.

    Args:
        run: The folder of a finished run, or a weights file that one left.
        data: Where the data lies now, if not where the recipe says.

    Raises:
        InputError: for a run that is not finished, or data with other classes.
        CorruptFile: for a weights file that is damaged or not ours.
    """
    return evaluate_run(read_run(run, data))


def evaluate_run(stored: StoredRun) -> Evaluation:
    """Score a run that was read already; as `evaluate`."""
    recipe, classes = stored.recipe, len(stored.classes)
    if recipe.task.name != "classify":
        raise InputError(f"{stored.path}: trained to {recipe.task.name}, not to classify")
    with quiet():
        opened = open_run_data(recipe)
        if (opened.classes, opened.in_chans) != (stored.classes, stored.in_chans):
            raise InputError(
                f"{stored.path}: trained on {classes} classes with {stored.in_chans} channels, "
                f"but the data has {len(opened.classes)} with {opened.in_chans}, or names them "
                "otherwise"
            )
        model = build_model(recipe, num_classes=classes, in_chans=stored.in_chans)
        stored.load_into(model)
        task = Classifier(model, classes, channels_last=recipe.run.channels_last)
        run_validation(recipe.run, task, opened.val)
    return Evaluation(**task.scores(), images=opened.val_images, weights=stored.path)


def read_run(run: str | Path, data: str | Path | None = None) -> StoredRun:
    """Read the folder of a finished run of any task, or its weights file.

    Raises:
        InputError: for a run that is not finished.
        CorruptFile: for a weights file that is damaged or not ours.
    """
    path = _weights_of(Path(run))
    weights, metadata = load_weights(path)
    recipe, classes, in_chans = _read(path, metadata)
    return StoredRun(path, weights, _with_data(recipe, path, data), classes, in_chans)


def _weights_of(run: Path) -> Path:
    if not run.exists():
        raise InputError(f"{run}: there is no such file or folder")
    if run.is_file():
        return run
    if not (run / WEIGHTS).is_file():
        state = "not finished; train it to its end" if (run / LAST).is_file() else "not a run"
        raise InputError(f"{run}: {state}; it holds no {WEIGHTS}")
    return run / WEIGHTS


def _read(path: Path, metadata: dict[str, str]) -> tuple[Recipe, tuple[str, ...], int]:
    try:
        table = tomllib.loads(metadata["recipe"])
        classes, in_chans = tuple(json.loads(metadata["classes"])), int(metadata["in_chans"])
    except (KeyError, ValueError) as error:
        raise CorruptFile(f"{path}: its description is damaged ({error!r})") from None
    recipe = spec.parse(Recipe, table, name=str(path))
    start = replace(recipe.model, weights=None)  # what it started from is no longer needed
    return replace(recipe, model=start), classes, in_chans


def _with_data(recipe: Recipe, weights: Path, data: str | Path | None) -> Recipe:
    """Prefer the place that is asked for, then the one in the folder's own recipe."""
    beside = weights.with_name("recipe.toml")
    if data is None and beside.is_file():
        place = spec.load(Recipe, beside).data.path
    else:
        place = None if data is None else str(data)
    return replace(recipe, data=replace(recipe.data, path=place))
