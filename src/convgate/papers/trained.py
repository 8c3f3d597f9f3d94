"""What was trained here for the cells of a table: accuracy and feature distance over the seeds."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from convgate.errors import InputError
from convgate.measure.timing import Progress
from convgate.papers.recipes import dataset_of, row_recipe, trains
from convgate.papers.report import PaperTableResult
from convgate.papers.result import PaperCell, PaperRowResult, TrainedScore
from convgate.papers.runs import FinishedRun, gather, mean_distances
from convgate.papers.table import DISTANCE, PaperRow, PaperTable, load_table
from convgate.studies.grid import fingerprint
from convgate.studies.statistics import mean_and_std
from convgate.train.recipe import Recipe

Value = Callable[[FinishedRun], float | None]


def with_results(
    result: PaperTableResult,
    folders: Iterable[Path] = (),
    *,
    images: Path | None = None,
    device: str = "cpu",
    on_progress: Progress | None = None,
) -> PaperTableResult:
    """Put what was trained into the cells that have to be trained.

    Runs are found by what they built. Those of one recipe and several seeds are averaged; those
    of other recipes stand for themselves, that of the table first.
    """
    table = load_table(result.name)
    runs = gather(result.name, table, folders)
    rows = [table.find(row.name) for row in result.rows]
    distances: dict[Path, float] = {}
    if images is not None:
        wanted = [
            r for r in runs for row in rows if DISTANCE in row.reported and _is(table, row, r)
        ]
        if not wanted:
            raise InputError(
                f"--images {images}: no trained run of a row of {result.name} with a feature "
                "distance; name one with --results"
            )
        distances = mean_distances(wanted, images, device, on_progress)
    filled = [
        _filled(table, row, shown, runs, distances)
        for row, shown in zip(rows, result.rows, strict=True)
    ]
    return replace(result, rows=tuple(filled))


def _filled(
    table: PaperTable,
    row: PaperRow,
    shown: PaperRowResult,
    runs: Sequence[FinishedRun],
    distances: dict[Path, float],
) -> PaperRowResult:
    def fill(cell: PaperCell) -> PaperCell:
        value = _value(table, cell.column, distances)
        if value is None:
            return cell
        mine = [r for r in runs if _is(table, row, r, dataset_of(cell.column))]
        return replace(cell, trained=_averages(table, row, cell, mine, value))

    return replace(shown, cells=tuple(map(fill, shown.cells)))


def _value(table: PaperTable, column: str, distances: dict[Path, float]) -> Value | None:
    """Return what a column takes of a run; None where it takes nothing."""
    if column == DISTANCE:
        return lambda run: distances.get(run.folder)
    score = column.partition("_")[0] if column.startswith("top") else table.scores.get(column)
    return None if score is None else lambda run: run.scores.get(score)


def _is(table: PaperTable, row: PaperRow, run: FinishedRun, dataset: str = "") -> bool:
    return trains(table, row, run.recipe, dataset)


def _averages(
    table: PaperTable, row: PaperRow, cell: PaperCell, runs: Sequence[FinishedRun], value: Value
) -> tuple[TrainedScore, ...]:
    groups: dict[str, dict[int, FinishedRun]] = defaultdict(dict)
    for run in runs:
        if value(run) is not None:
            groups[_seedless(run.recipe)].setdefault(run.recipe.run.seed, run)
    printed = _table_recipe(table, row, dataset_of(cell.column))
    found = []
    for key, seeds in groups.items():
        numbers = [number for run in seeds.values() if (number := value(run)) is not None]
        mean, std = mean_and_std(numbers)
        first = next(iter(seeds.values()))
        same = key == printed
        words = _words(first, same, row, table)
        found.append(TrainedScore(mean, std, len(numbers), tuple(sorted(seeds)), words, same))
    return tuple(sorted(found, key=lambda trained: not trained.same_recipe))


def _words(run: FinishedRun, same: bool, row: PaperRow, table: PaperTable) -> str:
    """Say in few words what was trained: data, images, epochs."""
    data, result = run.recipe.data, run.result
    epochs = len(result.epochs)
    parts = [data.name, f"{result.train_images:,} images", f"{epochs} epoch{'s'[: epochs != 1]}"]
    if data.image_px != _usual_px(table, row):
        parts.insert(1, f"{data.image_px} px")
    return ", ".join([*parts, *(["the table's recipe"] if same else [])])


def _usual_px(table: PaperTable, row: PaperRow) -> int:
    """Return the side of the table's images; of scenes, the longer side that its recipe reads."""
    recipe = row_recipe(table, row)
    scenes = recipe is not None and recipe.detector is not None
    return recipe.data.image_px if recipe and scenes else table.image_px_of(row)[0]


def _table_recipe(table: PaperTable, row: PaperRow, dataset: str) -> str:
    recipe = row_recipe(table, row)
    if recipe is None:
        return ""
    data = replace(recipe.data, name=dataset) if dataset else recipe.data
    return _seedless(replace(recipe, data=data))


def _seedless(recipe: Recipe) -> str:
    return fingerprint(replace(recipe, run=replace(recipe.run, seed=0)))
