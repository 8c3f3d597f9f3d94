"""Finished runs of `convgate train` and of studies: found in folders, and what they learned."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from convgate import spec
from convgate.errors import InputError
from convgate.insertion import find_sites
from convgate.measure import feature_distances
from convgate.measure.timing import Progress
from convgate.networks import Preprocessing, open_network
from convgate.papers.recipes import trains
from convgate.papers.table import PaperTable
from convgate.storage import RECIPE, RESULT
from convgate.train.classification import Classification, prepared_as
from convgate.train.data import Batches, ImageData
from convgate.train.recipe import Recipe
from convgate.train.record import RunResult, read_result
from convgate.train.trainer import quiet

HOME = Path("runs")
"""Where the printed commands train into, by table and row."""

SITE = "expanded"
"""Where the feature distance is measured."""

NAMED = 3
"""Networks that a refusal names."""


@dataclass(frozen=True)
class FinishedRun:
    """A finished run: where it lies, what it trained, and what came of it."""

    folder: Path
    recipe: Recipe
    result: RunResult

    @property
    def scores(self) -> Mapping[str, float]:
        """What it reached on the validation data, in percent."""
        return {k: v for k, v in self.result.scores.items() if not k.endswith("loss")}

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


def gather(name: str, table: PaperTable, folders: Iterable[Path]) -> list[FinishedRun]:
    """Return the runs that the folders hold, and those where the table's commands put them."""
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


def find_runs(folder: Path) -> list[FinishedRun]:
    """Return the finished runs at and below a folder, in the order of their paths."""
    if not folder.is_dir():
        raise InputError(f"--results {folder}: there is no such folder")
    places = sorted(file.parent for file in folder.rglob(RESULT))
    runs = []
    for place in places:
        if (place / RECIPE).is_file():
            recipe = spec.load(Recipe, place / RECIPE)
            result = read_result(place)
            runs += [FinishedRun(place, recipe, result)] if result is not None else []
    return runs


def mean_distances(
    runs: Sequence[FinishedRun],
    images: Path,
    device: str = "cpu",
    on_progress: Progress | None = None,
) -> dict[Path, float]:
    """Return the mean feature distance of each run by its folder.

    It is that of the features after the expansion of each block, averaged over the blocks and
    over the validation images, with the weights that the run left.

    Source: doi 10.32604/cmc.2025.059966, eq. 4 and section 3.
    """
    distances = {}
    for place, run in enumerate(runs):

        def report(share: float, place: int = place, run: FinishedRun = run) -> None:
            if on_progress:
                on_progress(f"{run.folder.name}: distance", (place + share) / len(runs))

        with quiet():
            network = open_network(run.folder, device=device)
            model, data = network.model, _validation(run, images, network.images)
            layers = [site.path for site in find_sites(model, SITE)]
            found = feature_distances(model, _batches(data.val, device, report), layers)
        distances[run.folder] = sum(one.distance for one in found.values()) / len(found)
    return distances


def _named(runs: Sequence[FinishedRun]) -> str:
    names = list(dict.fromkeys(run.network for run in runs))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _validation(run: FinishedRun, images: Path, shown: Preprocessing) -> ImageData:
    """Open the images as the run saw its own, with the mean and the deviation of its training."""
    place = replace(run.recipe.data, path=str(images))
    recipe = replace(run.recipe, data=place)
    data = Classification.open_data(prepared_as(recipe, shown))
    if data.classes != run.result.classes:
        raise InputError(
            f"--images {images}: its {len(data.classes)} classes are not the "
            f"{len(run.result.classes)} of {run.folder}; give the data that the run was trained on"
        )
    return data


def _batches(batches: Batches, device: str, report: Callable[[float], None]) -> Iterator[Tensor]:
    for done, (x, _) in enumerate(batches):
        report(done / len(batches))
        yield x.to(device)
