"""From trials and measurements to the rows of a study's table."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from convgate.studies.compare import Difference, mean_and_std, paired_difference
from convgate.studies.grid import Variant, unique
from convgate.studies.measurements import Facts, Measurements
from convgate.studies.pareto import pareto_front
from convgate.studies.trial_records import Record


@dataclass(frozen=True)
class Row:
    """One variant: its accuracy over the seeds, its difference to the base, its cost.

    Args:
        variant: The network.
        label: Its name, no longer than needed to tell the variants apart.
        top1: Seed -> percent at the last epoch.
        mean: Mean of ``top1``; None where no run finished.
        std: Standard deviation over the seeds; None for fewer than two.
        difference: Paired difference to the base in percentage points; None for the base.
        facts: Cost and latency; None where they were not measured.
        distance: Mean feature distance, averaged over the seeds.
        failed: Seed -> why it has no value.
        curves: Seed -> one record an epoch.
        on_front: Whether nothing is both faster and more accurate.
    """

    variant: Variant
    label: str
    top1: dict[int, float]
    mean: float | None = None
    std: float | None = None
    difference: Difference | None = None
    facts: Facts | None = None
    distance: float | None = None
    failed: dict[int, str] = field(default_factory=dict)
    curves: dict[int, list[dict[str, float]]] = field(default_factory=dict)
    on_front: bool = False

    @property
    def label_in_group(self) -> str:
        """The label without its group, for where a group stands alone."""
        return self.label.removeprefix(f"{self.variant.group}: ")

    def fits(self, budget: float) -> bool:
        """True where the whole interval of the latency ratio lies within the budget."""
        return self.facts is not None and self.facts.ratio_high <= budget

    def to_dict(self) -> dict[str, Any]:
        values = asdict(self)
        values.pop("curves")
        values["difference"] = self.difference.to_dict() if self.difference else None
        return values


def summarise(records: Sequence[Record], measured: Measurements) -> list[Row]:
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


def _row(variant: Variant, label: str, records: Sequence[Record], measured: Measurements) -> Row:
    mine = sorted((r for r in records if r.cell.variant == variant), key=lambda r: r.cell.seed)
    done = {r.cell.seed: r for r in mine if r.top1 is not None}
    top1 = {seed: r.top1 for seed, r in done.items() if r.top1 is not None}
    mean, std = mean_and_std(list(top1.values())) if top1 else (None, None)
    distances = [d for r in done.values() if (d := measured.distances.get(r.cell)) is not None]
    return Row(
        variant,
        label,
        top1,
        mean,
        std,
        facts=measured.facts.get(variant),
        distance=mean_and_std(distances)[0] if distances else None,
        failed={r.cell.seed: r.note for r in mine if r.state == "failed"},
        curves={seed: r.outcome.get("epochs", []) for seed, r in done.items()},
    )


def _compared(row: Row, base: Row | None) -> Row:
    if base is None or row.variant.is_base:
        return row
    return replace(row, difference=paired_difference(row.top1, base.top1))


def _with_front(rows: list[Row]) -> list[Row]:
    nan = float("nan")
    points = [
        (row.facts.paired_ms if row.facts else nan, nan if row.mean is None else row.mean)
        for row in rows
    ]
    front = set(pareto_front(points))
    return [replace(row, on_front=i in front) for i, row in enumerate(rows)]
