"""What a finished run left: its recipe, its classes, its weights, and the network they make."""

import json
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from torch import Tensor, nn

from convgate import spec
from convgate.errors import CorruptFile, InputError
from convgate.train.build import build_model
from convgate.train.checkpoint import LAST, WEIGHTS, load_weights
from convgate.train.data import AugmentSpec, DataSpec, open_data
from convgate.train.recipe import Recipe

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel, in 0 .. 1."""


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Args:
        path: The weights file.
        recipe: What was trained; its data lie where the recipe beside the weights says.
        classes: The names, in the order of the network's outputs.
        in_chans: Channels of a picture.
        weights: The network's state dict.
        noted: How pictures are normalised; None in files written before it was noted.
    """

    path: Path
    recipe: Recipe
    classes: tuple[str, ...]
    in_chans: int
    weights: dict[str, Tensor]
    noted: Statistics | None

    def build(self) -> nn.Module:
        """Return the network with its weights.

        Raises:
            CorruptFile: if they do not fit the recipe.
        """
        model = build_model(self.recipe, num_classes=len(self.classes), in_chans=self.in_chans)
        try:
            model.load_state_dict(self.weights)
        except RuntimeError as error:
            raise CorruptFile(f"{self.path}: does not fit its own recipe ({error})") from None
        return model

    def statistics(self) -> Statistics:
        """Return how pictures are normalised: as noted, else measured on the run's data again.

        Raises:
            InputError: if it is not noted and the data are not where they were.
        """
        if self.noted is not None:
            return self.noted
        try:
            return _measured(self.recipe.data, self.recipe.augment)
        except InputError as error:
            raise InputError(
                f"{self.path}: does not say how its pictures were normalised, and its data cannot "
                f"be read ({error})"
            ) from None


def read_trained(run: str | Path, data: str | Path | None = None) -> Trained:
    """Read the folder of a finished run, or a weights file that one left.

    Args:
        run: The folder or file.
        data: Where the data lie now, if not where the recipe says.

    Raises:
        InputError: for a run that is not finished.
        CorruptFile: for a weights file that is damaged or not ours.
    """
    path = _weights_of(Path(run))
    weights, metadata = load_weights(path)
    try:
        table = tomllib.loads(metadata["recipe"])
        classes, in_chans = tuple(json.loads(metadata["classes"])), int(metadata["in_chans"])
        noted = _noted(metadata)
    except (KeyError, ValueError, TypeError) as error:
        raise CorruptFile(f"{path}: its description is damaged ({error!r})") from None
    recipe = spec.parse(Recipe, table, name=str(path))
    start = replace(recipe.model, weights=None)  # what it started from is no longer needed
    recipe = _with_data(replace(recipe, model=start), path, data)
    return Trained(path, recipe, classes, in_chans, weights, noted)


def note_statistics(mean: tuple[float, ...], std: tuple[float, ...]) -> dict[str, str]:
    """Return the entries of a weights file that `Trained.noted` is read from."""
    return {"mean": json.dumps(mean), "std": json.dumps(std)}


def _noted(metadata: dict[str, str]) -> Statistics | None:
    if "mean" not in metadata:
        return None
    mean, std = (tuple(map(float, json.loads(metadata[key]))) for key in ("mean", "std"))
    return mean, std


@cache
def _measured(data: DataSpec, augment: AugmentSpec) -> Statistics:
    opened = open_data(data, augment, batch_size=2, seed=0)
    return opened.mean, opened.std


def _weights_of(run: Path) -> Path:
    if not run.exists():
        raise InputError(f"{run}: there is no such file or folder")
    if run.is_file():
        return run
    if not (run / WEIGHTS).is_file():
        state = "not finished; train it to its end" if (run / LAST).is_file() else "not a run"
        raise InputError(f"{run}: {state}; it holds no {WEIGHTS}")
    return run / WEIGHTS


def _with_data(recipe: Recipe, weights: Path, data: str | Path | None) -> Recipe:
    """Prefer the place that is asked for, then the one in the folder's own recipe."""
    beside = weights.with_name("recipe.toml")
    if data is None and beside.is_file():
        place = spec.load(Recipe, beside).data.path
    else:
        place = None if data is None else str(data)
    return replace(recipe, data=replace(recipe.data, path=place))
