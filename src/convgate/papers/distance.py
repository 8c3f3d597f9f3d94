"""Mean feature distance of trained networks, where SELN's tables have it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from convgate.errors import InputError
from convgate.insertion import find_sites
from convgate.measure import feature_distances
from convgate.measure.timing import Progress
from convgate.papers.runs import Run
from convgate.storage import WEIGHTS, load_weights
from convgate.train.build import build_model, open_run_data
from convgate.train.data import Batches, ImageData
from convgate.train.trainer import quiet

DISTANCE = "distance"
"""The column's name."""

SITE = "expanded"


def mean_distances(
    runs: Sequence[Run], images: Path, device: str = "cpu", on_progress: Progress | None = None
) -> dict[Path, float]:
    """Return the mean feature distance of each run by its folder.

    It is that of the features after the expansion of each block, averaged over the blocks and
    over the validation images, with the weights that the run left.

    Source: doi 10.32604/cmc.2025.059966, eq. 4 and section 3.

    Args:
        runs: Finished runs.
        images: A data set as the runs' own: a folder or a zip.
        device: Where.
        on_progress: Called with a word and the share that is done.

    Raises:
        InputError: if a run's weights are gone, or the images do not fit it.
    """
    distances = {}
    for place, run in enumerate(runs):

        def report(share: float, place: int = place, run: Run = run) -> None:
            if on_progress:
                on_progress(f"{run.folder.name}: distance", (place + share) / len(runs))

        with quiet():
            data = _validation(run, images)
            model = _trained(run, data).to(device)
            layers = [site.path for site in find_sites(model, SITE)]
            found = feature_distances(model, _batches(data.val, device, report), layers)
        distances[run.folder] = sum(one.distance for one in found.values()) / len(found)
    return distances


def _validation(run: Run, images: Path) -> ImageData:
    """Open the images as the run saw its own, with the mean and the deviation of its training."""
    data = open_run_data(replace(run.recipe, data=replace(run.recipe.data, path=str(images))))
    if data.classes != run.result.classes:
        raise InputError(
            f"--images {images}: its {len(data.classes)} classes are not the "
            f"{len(run.result.classes)} of {run.folder}; give the data that the run was trained on"
        )
    return data


def _trained(run: Run, data: ImageData) -> nn.Module:
    start = replace(run.recipe.model, weights=None)  # what it started from is no longer needed
    recipe = replace(run.recipe, model=start)
    model = build_model(recipe, num_classes=len(data.classes), in_chans=data.in_chans)
    weights, _ = load_weights(run.folder / WEIGHTS)
    model.load_state_dict(weights)
    return model.eval()


def _batches(batches: Batches, device: str, report: Callable[[float], None]) -> Iterator[Tensor]:
    for done, (x, _) in enumerate(batches):
        report(done / len(batches))
        yield x.to(device)
