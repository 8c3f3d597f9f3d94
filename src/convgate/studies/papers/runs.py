"""Finished runs in folders: those of `convgate train`, and those below a study's folder."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from convgate import spec
from convgate.errors import InputError
from convgate.studies.papers.match import trains
from convgate.studies.papers.table import PaperTable
from convgate.train.job import RECIPE
from convgate.train.recipe import Recipe
from convgate.train.record import RESULT, FitResult, read_result

HOME = Path("runs")
"""Where the printed commands train into, by table and row."""

NAMED = 3
"""Networks that a refusal names."""


@dataclass(frozen=True)
class Run:
    """A finished run: where it lies, what it trained, and what came of it."""

    folder: Path
    recipe: Recipe
    result: FitResult

    @property
    def network(self) -> str:
        """What was trained, as in "resnet20 + se at block_end on cifar10"."""
        gate, data = self.recipe.gate, self.recipe.data.name
        if gate is None:
            return f"{self.recipe.model.name} on {data}"
        place = f"in place of {gate.replaces}" if gate.replaces else f"at {gate.at}"
        return f"{self.recipe.model.name} + {gate.name} {place} on {data}"


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
        if (place / RECIPE).is_file() and (result := read_result(place)) is not None:
            runs.append(Run(place, spec.load(Recipe, place / RECIPE), result))
    return runs


def _named(runs: Sequence[Run]) -> str:
    names = list(dict.fromkeys(run.network for run in runs))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
