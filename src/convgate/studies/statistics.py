"""From trials and measurements to a study's rows: paired differences, intervals, Pareto front."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from scipy import stats

from convgate.studies.grid import Variant, unique
from convgate.studies.measurement import Measurements, VariantCost
from convgate.studies.trials import CellRecord

CONFIDENCE = 0.95
EQUAL = 1e-9
"""Widths below this are rounding: differences of equal values are not exactly equal."""


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences, and how sure it is; all in the unit of the values compared."""

    pairs: int  # how many seeds both sides have
    mean: float  # mean of the differences, candidate - base
    std: float | None = None  # their standard deviation (n - 1); None for a single pair
    low: float | None = None  # lower end of the 95 % interval; None for a single pair
    high: float | None = None  # upper end; None for a single pair

    @property
    def verdict(self) -> str:
        """One of: higher, lower, no difference shown, no interval.

        Equal differences in all pairs have an interval of width zero. With a handful of pairs,
        each a count of images, that happens by chance and shows nothing.
        """
        if self.low is None or self.high is None:
            return "no interval"
        if self.high - self.low < EQUAL or self.low <= 0 <= self.high:
            return "no difference shown"
        return "higher" if self.low > 0 else "lower"

    @property
    def shown(self) -> bool:
        return self.verdict in ("higher", "lower")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"verdict": self.verdict}


def mean_and_std(values: list[float]) -> tuple[float, float | None]:
    """Return the mean and the standard deviation (n - 1), which a single value does not have."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def paired_difference(
    candidate: Mapping[int, float], base: Mapping[int, float], *, confidence: float = CONFIDENCE
) -> Difference | None:
    """Compare two sets of values by their common keys (seeds); None where they share none.

        d_i = candidate_i - base_i,    mean(d) +- t(n - 1) std(d) / sqrt(n)

    Source: Student's t interval of the mean of paired differences.
    """
    differences = [candidate[seed] - base[seed] for seed in sorted(candidate.keys() & base.keys())]
    if not differences:
        return None
    mean, std = mean_and_std(differences)
    if std is None:
        return Difference(1, mean)
    n = len(differences)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * std / math.sqrt(n)
    return Difference(n, mean, std, mean - half, mean + half)


@dataclass(frozen=True)
class VariantRow:
    """One variant: its accuracy over the seeds, its difference to the base, its cost."""

    variant: Variant  # the network
    label: str  # its name, no longer than needed to tell the variants apart
    top1: dict[int, float]  # seed -> percent at the last epoch
    mean: float | None = None  # mean of ``top1``; None where no run finished
    std: float | None = None  # standard deviation over the seeds; None for fewer than two
    difference: Difference | None = None  # to the base, paired, in points; None for the base
    cost: VariantCost | None = None  # cost and latency; None where they were not measured
    distance: float | None = None  # mean feature distance, averaged over the seeds
    moved: float | None = None  # by how much the gates change their input, likewise
    failed: dict[int, str] = field(default_factory=dict)  # seed -> why it has no value
    curves: dict[int, list[dict[str, float]]] = field(default_factory=dict)  # seed -> its epochs
    on_front: bool = False  # whether nothing is both faster and more accurate

    @property
    def label_in_group(self) -> str:
        """The label without its group, for where a group stands alone."""
        return self.label.removeprefix(f"{self.variant.group}: ")

    def fits(self, budget: float) -> bool:
        """True where the whole interval of the latency ratio lies within the budget."""
        return self.cost is not None and self.cost.ratio_high <= budget

    def to_dict(self) -> dict[str, Any]:
        values = asdict(self)
        values.pop("curves")
        values["difference"] = self.difference.to_dict() if self.difference else None
        return values


def summarise(records: Sequence[CellRecord], measured: Measurements) -> list[VariantRow]:
    """Build one row a variant, the base of each group before its gates."""
    variants = unique([r.cell.variant for r in records])
    label = labeller(variants)
    found = {v: _row(v, label(v), records, measured) for v in sort_variants(variants)}
    bases = {variant.group: row for variant, row in found.items() if variant.is_base}
    rows = [_compared(row, bases.get(variant.group)) for variant, row in found.items()]
    return _with_front(rows)


def sort_variants(variants: Sequence[Variant]) -> list[Variant]:
    """Return the variants group by group, each base first, else in the order given."""
    groups = unique([v.group for v in variants])
    return sorted(variants, key=lambda v: (groups.index(v.group), not v.is_base))


def labeller(variants: Sequence[Variant]) -> "Labeller":
    """Return what names a variant, leaving out what all variants share."""
    gated = [v for v in variants if not v.is_base]
    swept = {v.gate for v in gated if v.setting}
    return Labeller(
        groups=len({v.group for v in variants}) > 1,
        gates=swept != {v.gate for v in gated} or len(swept) > 1,
        sites=len({v.site for v in gated}) > 1,
    )


@dataclass(frozen=True)
class Labeller:
    """Names a variant with its group, gate and site only where a study has several of them."""

    groups: bool
    gates: bool
    sites: bool

    def __call__(self, variant: Variant) -> str:
        if variant.setting and not (self.groups or self.gates or self.sites):
            return variant.setting
        if variant.name:
            return variant.label if self.groups or variant.is_base else variant.kind
        name = variant.label if self.sites else f"{variant.gate} {variant.setting}".strip()
        return f"{variant.group}: {name}" if self.groups else name


def _row(
    variant: Variant, label: str, records: Sequence[CellRecord], measured: Measurements
) -> VariantRow:
    mine = sorted((r for r in records if r.cell.variant == variant), key=lambda r: r.cell.seed)
    done = {r.cell.seed: r for r in mine if r.top1 is not None}
    top1 = {seed: r.top1 for seed, r in done.items() if r.top1 is not None}
    mean, std = mean_and_std(list(top1.values())) if top1 else (None, None)
    moved = [m for r in done.values() if (m := mean_moved(r)) is not None]
    distances = [d for r in done.values() if (d := measured.distances.get(r.cell)) is not None]
    return VariantRow(
        variant,
        label,
        top1,
        mean,
        std,
        cost=measured.costs.get(variant),
        distance=mean_and_std(distances)[0] if distances else None,
        moved=mean_and_std(moved)[0] if moved else None,
        failed={r.cell.seed: r.note for r in mine if r.state == "failed"},
        curves={seed: r.outcome.get("epochs", []) for seed, r in done.items()},
    )


def mean_moved(record: CellRecord) -> float | None:
    """Return by how much the gates of a run change their input, on average; None without gates."""
    moved = record.outcome.get("moved") or {}
    return sum(moved.values()) / len(moved) if moved else None


def _compared(row: VariantRow, base: VariantRow | None) -> VariantRow:
    if base is None or row.variant.is_base:
        return row
    return replace(row, difference=paired_difference(row.top1, base.top1))


def _with_front(rows: list[VariantRow]) -> list[VariantRow]:
    nan = float("nan")
    points = [
        (row.cost.paired_ms if row.cost else nan, nan if row.mean is None else row.mean)
        for row in rows
    ]
    front = set(pareto_front(points))
    return [replace(row, on_front=i in front) for i, row in enumerate(rows)]


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the (cost, value) points that no other point dominates, by cost.

    A point dominates another if it costs no more, is worth no less, and is better in one of
    the two. Equal points do not dominate each other. A point with a NaN is never on the front.
    """
    finite = [i for i, (cost, value) in enumerate(points) if cost == cost and value == value]
    front: list[int] = []
    best = float("-inf")
    for i in sorted(finite, key=lambda i: (points[i][0], -points[i][1])):
        cost, value = points[i]
        if value > best or (front and points[front[-1]] == (cost, value)):
            front.append(i)
            best = value
    return front
