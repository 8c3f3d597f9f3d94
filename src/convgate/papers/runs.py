"""Finished runs in folders: those of `convgate train`, and those below a study's folder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from convgate import spec
from convgate.errors import InputError
from convgate.papers.match import trains
from convgate.papers.table import PaperTable
from convgate.train.job import RECIPE
from convgate.train.recipe import Recipe
from convgate.train.record import RESULT, FitResult, read_result, read_result_of
from convgate.train.scene_record import SCENE_RECORDS, SceneResult

HOME = Path("runs")
"""Where the printed commands train into, by table and row."""

NAMED = 3
"""Networks that a refusal names."""


@dataclass(frozen=True)
class Run:
    """A finished run: where it lies, what it trained, and what came of it."""

    folder: Path
    recipe: Recipe
    result: FitResult | SceneResult

    @property
    def scores(self) -> Mapping[str, float]:
        """What it reached on the validation data, in percent."""
        result = self.result
        if isinstance(result, SceneResult):
            return result.scores
        return {"top1": result.top1, "top5": result.top5}

    @property
    def network(self) -> str:
        """What was trained, as in "resnet20 + se at block_end on cifar10"."""
        gate, data, detector = self.recipe.gate, self.recipe.data.name, self.recipe.detector
        name = self.recipe.model.name
        if detector is not None:
            name = f"{detector.name} with {name}"
        if gate is None:
            return f"{name} on {data}"
        place = f"in place of {gate.replaces}" if gate.replaces else f"at {gate.at}"
        return f"{name} + {gate.name} {place} on {data}"


def gather(name: str, table: PaperTable, folders: Iterable[Path]) -> list[Run]:
    """Return the runs that the folders hold, and those where the table's commands put them.

    Args:
        name: The table's name.
        table: The table.
        folders: Runs, studies, or folders of them.

    Raises:
        InputError: if a folder is not there, or holds no run of the table.
        CorruptFile: for a result or a recipe that is damaged.
    """
    home = HOME / name
    found = find_runs(home) if home.is_dir() else []
    for folder in folders:
        runs = find_runs(folder)
        if not runs:
            raise InputError(f"--results {folder}: holds no finished run of a training or a study")
        if not any(trains(table, row, run.recipe) for run in runs for row in table.row):
            raise InputError(
                f"--results {folder}: holds {_named(runs)}, and {name} has no such row"
            )
        found += runs
    return list({run.folder.resolve(): run for run in found}.values())


def find_runs(folder: Path) -> list[Run]:
    """Return the finished runs at and below a folder, in the order of their paths.

    Raises:
        InputError: if there is no such folder.
        CorruptFile: for a result or a recipe that is damaged.
    """
    if not folder.is_dir():
        raise InputError(f"--results {folder}: there is no such folder")
    places = sorted(file.parent for file in folder.rglob(RESULT))
    runs = []
    for place in places:
        if (place / RECIPE).is_file():
            recipe = spec.load(Recipe, place / RECIPE)
            result = _result(recipe, place)
            runs += [Run(place, recipe, result)] if result is not None else []
    return runs


def _result(recipe: Recipe, folder: Path) -> FitResult | SceneResult | None:
    if recipe.task.name == "classify":
        return read_result(folder)
    return read_result_of(SCENE_RECORDS, folder)


def _named(runs: Sequence[Run]) -> str:
    names = list(dict.fromkeys(run.network for run in runs))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
