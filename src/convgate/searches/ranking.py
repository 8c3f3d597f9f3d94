"""Scores of combinations, cheaply: paths of one network, on pictures held out for the search."""

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from convgate.errors import CorruptFile
from convgate.gates import GATES
from convgate.networks.opening import open_network
from convgate.searches.paths import NAME, path_spec, recalibrate, take_path
from convgate.searches.space import Combination, Space
from convgate.storage import write_text
from convgate.train.classification import prepared_as
from convgate.train.fit import fit
from convgate.train.job import TASKS
from convgate.train.recipe import Recipe
from convgate.train.trainer import quiet, run_validation

Ranking = Callable[[Combination], float]
PICTURES = 1024
"""Training pictures that the statistics of a path are taken from."""


def search_recipe(recipe: Recipe, held_out: float) -> Recipe:
    """Return the recipe with a part of the training pictures in place of the validation's."""
    data = replace(recipe.data, held_out=held_out)
    return replace(recipe, data=data, gate=None, study=None)


def path_recipe(recipe: Recipe, space: Space) -> Recipe:
    """Return the recipe of the network that holds all candidates of a space."""
    GATES.load(NAME)
    run = replace(recipe.run, compile=False)  # each step takes another path
    optimizer = recipe.optimizer
    if optimizer.name in ("sgd", "adamw"):  # fused, they fail where some had no gradient before
        optimizer = replace(optimizer, options=optimizer.options | {"fused": False})
    return replace(recipe, gate=path_spec(space, run.seed), run=run, optimizer=optimizer)


class PathRanking:
    """The score of each combination as a path of one trained network: minus its held-out loss.

    The loss ranks better than top-1, which has few steps on few pictures.

    Args:
        recipe: As `search_recipe` gives it.
        space: What there is to choose.
        folder: Where the network is trained, and continued.
        fit: Trains a recipe into a folder.
        progress: As in `fit`.
    """

    def __init__(
        self,
        recipe: Recipe,
        space: Space,
        folder: Path,
        *,
        fit: Callable[..., Any] = fit,
        progress: bool | None = None,
    ) -> None:
        self.space = space
        self.recipe = path_recipe(recipe, space)
        fit(self.recipe, folder, progress=progress)
        network = open_network(folder)
        kind = TASKS[self.recipe.task.name]
        if self.recipe.task.name == "classify":
            self.recipe = prepared_as(self.recipe, network.images)
        with quiet():
            self.data: Any = kind.open_data(self.recipe)
        classes = len(self.data.classes)
        self.task: Any = kind.create(self.recipe, network.model, classes)
        self.scores: dict[str, float] = {}
        """All scores of the combination that was asked for last."""

    def __call__(self, combination: Combination) -> float:
        """Return minus the loss of a combination on the pictures held out."""
        take_path(self.task.model, self.space, combination)
        self.data.train.set_epoch(0)
        batches = -(-PICTURES // self.recipe.run.batch_size)
        with quiet():
            recalibrate(self.task, itertools.islice(self.data.train, batches))
            run_validation(self.recipe.run, self.task, self.data.val)
        self.scores = dict(self.task.scores())
        return -self.scores["val_loss"]


class ShortRanking:
    """The score of each combination after a training of its own, with fewer epochs: slower.

    Args:
        recipe: As `search_recipe` gives it.
        space: What there is to choose.
        folder: Gets a run for each combination.
        epochs: Of each.
    """

    def __init__(self, recipe: Recipe, space: Space, folder: Path, *, epochs: int) -> None:
        self.space, self.folder = space, folder
        warmup = min(recipe.schedule.warmup_epochs, epochs - 1)
        schedule = replace(recipe.schedule, epochs=epochs, warmup_epochs=warmup)
        self.recipe = replace(recipe, schedule=schedule)
        self.scores: dict[str, float] = {}

    def __call__(self, combination: Combination) -> float:
        """Return minus the loss of a combination on the pictures held out."""
        chosen = self.space.recipe(self.recipe, combination)
        result = fit(chosen, self.folder / self.space.label(combination), progress=False)
        self.scores = result.scores
        return -result.scores["val_loss"]


class ScoreBook:
    """Scores that were asked for once, kept in a file so that a stopped search knows them.

    Args:
        path: The file.
        open_ranking: Gives what scores a combination; called when a score is not known.
    """

    def __init__(self, path: Path, open_ranking: Callable[[], Ranking]) -> None:
        self.path, self.open_ranking = path, open_ranking
        self.known = _read(path)
        self.ranking: Ranking | None = None

    def __call__(self, combination: Combination) -> float:
        if combination not in self.known:
            self.ranking = self.ranking or self.open_ranking()
            self.known[combination] = self.ranking(combination)
            rows = [{"gates": list(c), "score": score} for c, score in self.known.items()]
            write_text(self.path, json.dumps(rows, indent=1) + "\n")
        return self.known[combination]


def _read(path: Path) -> dict[Combination, float]:
    if not path.is_file():
        return {}
    try:
        rows: Sequence[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return {tuple(row["gates"]): float(row["score"]) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFile(
            f"{path}: not a search's scores ({type(error).__name__}: {error}); delete it and they "
            "are taken again"
        ) from None
