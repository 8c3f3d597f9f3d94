"""Everything there is to measure about a model, in one record."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from convgate.measure.cost import Cost, count
from convgate.measure.diversity import FeatureDistance, feature_distances
from convgate.measure.latency import Options, compare_latency
from convgate.measure.memory import PeakMemory, peak_memory
from convgate.measure.report import LatencyReport, TimingReport
from convgate.measure.settings import Setting
from convgate.tables import Readable, Table, short_number


@dataclass(frozen=True)
class Counts(Readable):
    """What needs no clock: the same on every run."""

    cost: Cost
    memory: PeakMemory
    distances: dict[str, FeatureDistance]  # feature distance by layer; empty: not asked for

    HEADS: ClassVar = ("params M\nMACs G", "bytes MB\npeak MiB")

    def cells(self) -> tuple[str, ...]:
        cost, peak = self.cost, short_number(self.memory.peak_mib)
        sizes = f"{short_number(cost.params / 1e6)}\n{short_number(cost.macs / 1e9)}"
        traffic = f"{short_number(cost.bytes_moved / 1e6)}\n{peak}"
        return sizes, traffic, *(f"{d.distance:.4f}" for d in self.distances.values())

    def table(self) -> Table:
        distances = [(f"distance of {n}", f"{d.distance:.4f}") for n, d in self.distances.items()]
        rows = [*self.cost.table().rows, *self.memory.table().rows, *distances]
        return Table(("what", "count"), rows, "lr")


@dataclass(frozen=True, repr=False)
class Measurement(Readable):
    """One model on one input."""

    name: str
    counts: Counts
    # the model as the base of a comparison with nothing but its self-test; its environment holds
    # the conditions
    latency: LatencyReport

    @property
    def cost(self) -> Cost:
        return self.counts.cost

    @property
    def memory(self) -> PeakMemory:
        return self.counts.memory

    def table(self) -> Table:
        return comparison_table({self.name: self.counts}, self.latency)


def comparison_table(counts: Mapping[str, Counts], time: TimingReport) -> Table:
    """Return the table of `convgate measure`: counts and times of models side by side."""
    distance = ("distance",) if any(each.distances for each in counts.values()) else ()
    head = ("model", *Counts.HEADS, *distance, *time.HEADS)
    rows = [(row.name, *counts[row.name].cells(), *row.cells()) for row in time.rows]
    uncounted = [
        f"warning: {name}: not counted: {', '.join(each.cost.uncounted)}"
        for name, each in counts.items()
        if each.cost.uncounted
    ]
    return Table(head, rows, "l" + "r" * (len(head) - 1), notes=[*time.notes(), *uncounted])


def measure(
    model: nn.Module,
    example_input: Tensor,
    *,
    name: str = "model",
    images: Tensor | None = None,
    **options: Any,
) -> Measurement:
    """Count and time one model; it is left as it was.

    Args:
        model: on the input's device.
        example_input: one batch of varied numbers, (N, C, H, W).
        name: what to call it.
        images: where given, the feature distance of the deepest map is measured on them.
        **options: as `compare_latency` takes them.

    Raises:
        InputError: as `compare_latency` does.
    """
    setting = Options.of(**options).setting
    return Measurement(
        name=name,
        counts=count_all(model, example_input, images=images, setting=setting),
        latency=compare_latency({name: model}, example_input, **options),
    )


def count_all(
    model: nn.Module,
    example_input: Tensor,
    *,
    images: Tensor | None = None,
    setting: Setting | None = None,
) -> Counts:
    """Count a model's cost and memory in the dtype and layout of ``setting``."""
    chosen = setting or Setting()
    form, x = chosen.eager(model), chosen.input(example_input)
    assert isinstance(form, nn.Module)
    return Counts(
        cost=count(form, x),
        memory=peak_memory(form, x),
        distances={} if images is None else feature_distances(form, chosen.input(images)),
    )
