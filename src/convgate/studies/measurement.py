"""Cost, latency and feature distance of a study's networks, once they are trained."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convgate.deploy.engines import EngineConfig
from convgate.deploy.export import fold_if_it_can
from convgate.errors import CorruptFile, InputError
from convgate.insertion.sites import find_blocks
from convgate.measure import LatencyReport, LatencyRow, count, environment, feature_distances
from convgate.measure.settings import noise
from convgate.networks import Network, open_network
from convgate.storage import WEIGHTS, write_text
from convgate.studies.grid import Cell, Variant, read_variant, unique
from convgate.studies.trials import CellRecord
from convgate.train.classification import Classification
from convgate.train.data import ImageData
from convgate.train.recipe import Recipe
from convgate.train.record import read_result

DISTANCE_IMAGES = 512
"""Validation images that the feature distance is averaged over."""

SECONDS = 20.0
SECONDS_EACH = 2.0


@dataclass(frozen=True)
class VariantCost:
    """Cost and latency of one variant.

    The ratio compares it with its own backbone without a gate, paired round by round; ``ratio_low``
    and ``ratio_high`` are its 95 % interval. ``paired_ms`` is the ratio times the base's median.
    """

    params: int
    macs: int
    elementwise_ops: int
    bytes_moved: int
    median_ms: float
    q05_ms: float
    q95_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    paired_ms: float
    verdict: str = ""
    uncounted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurements:
    """All that the report needs besides the trials."""

    costs: Mapping[Variant, VariantCost] = field(default_factory=dict)  # with latency
    distances: Mapping[Cell, float] = field(default_factory=dict)  # mean feature distance by run
    # how it was measured: input, device, threads, rounds, warnings
    conditions: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)  # versions, device, commit

    def covers(self, cells: set[Cell]) -> bool:
        """True if every one of these runs and its variant was measured."""
        return cells <= self.distances.keys() and {c.variant for c in cells} <= self.costs.keys()

    def write(self, path: Path) -> None:
        table = {
            "variants": [asdict(v) | asdict(c) for v, c in self.costs.items()],
            "runs": [c.to_dict() | {"distance": d} for c, d in self.distances.items()],
            "conditions": dict(self.conditions),
            "environment": dict(self.environment),
        }
        write_text(path, json.dumps(table, indent=1) + "\n")


def measure_runs(
    recipe: Recipe,
    records: Sequence[CellRecord],
    folder: Path,
    seconds: float | None = None,
    *,
    engine: str = "eager",
    dtype: str | None = None,
    fold: bool = False,
) -> Measurements:
    """Measure every finished run of a study and its network.

    Latency is of one image, in eval mode, on the GPU where there is one; all that
    share a base take turns in every round. With ``fold`` all are timed as `export` ships them,
    folded where they can be. Counts are of the network as it was trained. The feature distance is
    that of each block's output, averaged over the blocks.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = EngineConfig(engine, dtype)
    config = replace(config, channels_last=recipe.run.channels_last and config.in_torch)
    done = [record for record in records if record.top1 is not None]
    _check_here(done, folder)
    whole = replace(recipe.data, mean=(0.0,), std=(1.0,))  # each network normalises by itself
    data = Classification.open_data(replace(recipe, data=whole))

    def load(record: CellRecord) -> Network:
        return open_network(folder / "trials" / record.cell.folder, device=device)

    x = noise((data.in_chans, data.image_px, data.image_px)).to(device)
    first = {record.cell.variant: record for record in reversed(done)}
    facts: dict[Variant, VariantCost] = {}
    conditions: dict[str, Any] = {}
    for group in unique([variant.group for variant in first]):
        networks = {v: load(record).model for v, record in first.items() if v.group == group}
        found, taken = _time(networks, x, config, seconds, fold=fold)
        facts |= found
        conditions[group] = taken
    images = _images(data, device)
    distances = {record.cell: _distance(load(record), images) for record in done}
    conditions["distance_images"] = sum(map(len, images))
    return Measurements(facts, distances, conditions, environment(device))


def _check_here(done: Sequence[CellRecord], folder: Path) -> None:
    """Ask that the folder has every finished run; other machines may have trained some."""
    runs = folder / "trials"
    absent = [record for record in done if not _is_here(record, runs / record.cell.folder)]
    if absent:
        places = unique([_place(record) for record in absent])
        raise InputError(
            f"{len(absent)} of {len(done)} runs are trained and not in {runs}, but in "
            f"{', '.join(places)}; copy what is there into it, and the same command writes the "
            "report"
        )


def _is_here(record: CellRecord, run: Path) -> bool:
    """Tell whether a folder holds this run at its end, and not one that was left in the middle."""
    result = read_result(run)
    return result is not None and result.score == record.top1 and (run / WEIGHTS).is_file()


def _place(record: CellRecord) -> str:
    """Return the machine and the folder of runs that a cell was trained in."""
    return str(record.outcome.get("place", "an unknown place")).removesuffix(
        f"/{record.cell.folder}"
    )


def mean_distance(model: nn.Module, images: Sequence[Tensor]) -> float:
    """Return the mean feature distance of the blocks' outputs; of the last map where none is known.

    Shape: each of ``images`` (N, C, H, W) -> a number in [0, 1/2].
    Source: doi 10.32604/cmc.2025.059966, eq. 4.
    """
    ends = [block.output for block in find_blocks(model, images[0][:1])]
    layers = [s.path for s in ends if s and (s.where, s.layout) == ("output", "NCHW")] or None
    found = feature_distances(model, images, layers)
    return sum(layer.distance for layer in found.values()) / len(found)


def _distance(network: Network, images: Sequence[Tensor]) -> float:
    """Return the mean feature distance on pictures in 0 .. 1."""
    return mean_distance(network.model, [network.normalise(255 * x) for x in images])


def _images(data: ImageData, device: torch.device) -> list[Tensor]:
    batches: list[Tensor] = []
    for x, _ in data.val:
        left = DISTANCE_IMAGES - sum(map(len, batches))
        if left <= 0:
            break
        batches.append(x[:left].to(device))
    return batches


def _time(
    networks: dict[Variant, nn.Module],
    x: Tensor,
    config: EngineConfig,
    seconds: float | None,
    *,
    fold: bool,
) -> tuple[dict[Variant, VariantCost], dict[str, Any]]:
    base = next((v for v in networks if v.is_base), None)
    if base is None:  # its runs failed, and there is nothing to compare with
        return {}, {}
    models = {variant.label: network for variant, network in networks.items()}
    folds: dict[str, list[str]] = {}
    if fold:
        pairs = {label: fold_if_it_can(model, x) for label, model in models.items()}
        models = {label: lean for label, (lean, _) in pairs.items()}
        folds = {label: list(changes) for label, (_, changes) in pairs.items()}
    report = config.compare(
        models, x, base=base.label, seconds=seconds or max(SECONDS, SECONDS_EACH * len(models))
    )
    base_ms = report.row(base.label).median_ms
    facts = {v: _cost_of(net, x, report.row(v.label), base_ms) for v, net in networks.items()}
    return facts, _conditions(report, folds)


def _cost_of(network: nn.Module, x: Tensor, row: LatencyRow, base_ms: float) -> VariantCost:
    cost = count(network, x)
    return VariantCost(
        params=cost.params,
        macs=cost.macs,
        elementwise_ops=cost.elementwise_ops,
        bytes_moved=cost.bytes_moved,
        median_ms=row.median_ms,
        q05_ms=row.q05_ms,
        q95_ms=row.q95_ms,
        ratio=row.ratio,
        ratio_low=row.ratio_low,
        ratio_high=row.ratio_high,
        paired_ms=row.ratio * base_ms,
        verdict=row.verdict,
        uncounted=cost.uncounted,
    )


def _conditions(report: LatencyReport, folds: dict[str, list[str]]) -> dict[str, Any]:
    """Return how the latency was taken: what a reader needs to believe it or not."""
    taken = report.to_dict()
    taken.pop("rows")
    circumstances = taken.pop("environment")
    form = ", folded" if folds else ""
    engine = f"{circumstances['engine']}, {circumstances['dtype']}{form}"
    return taken | {"engine": engine, "folded": folds}


def read_measurements(path: Path) -> Measurements | None:
    if not path.is_file():
        return None
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return Measurements(
            {read_variant(row): _read_cost(row) for row in table["variants"]},
            {Cell.from_dict(row): row["distance"] for row in table["runs"]},
            table["conditions"],
            table["environment"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFile(
            f"{path}: not a study's measurements ({type(error).__name__}: {error});"
            " delete it and they are taken again"
        ) from None


def _read_cost(row: dict[str, Any]) -> VariantCost:
    values = {k: v for k, v in row.items() if k not in {f.name for f in fields(Variant)}}
    return VariantCost(**values | {"uncounted": tuple(values["uncounted"])})
