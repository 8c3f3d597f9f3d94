"""Everything there is to measure about a model, in one record."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from convgate.measure.cost import Cost, count_cost
from convgate.measure.diversity import FeatureDistance, feature_distances
from convgate.measure.latency import Options, compare_latency
from convgate.measure.memory import PeakMemory, peak_memory
from convgate.measure.record import Record
from convgate.measure.report import LatencyReport
from convgate.measure.settings import Setting


@dataclass(frozen=True)
class Facts(Record):
    """What needs no clock: the same on every run.

    Attributes:
        distances: mean feature cosine distance by layer; empty where it was not asked for.
    """

    cost: Cost
    memory: PeakMemory
    distances: dict[str, FeatureDistance]


@dataclass(frozen=True)
class Measurement(Record):
    """One model on one input.

    Attributes:
        latency: the model as the base of a comparison with nothing but its self-test; its
            environment holds the circumstances.
    """

    name: str
    facts: Facts
    latency: LatencyReport

    @property
    def cost(self) -> Cost:
        """Parameters, multiply-adds, element-wise work and bytes."""
        return self.facts.cost

    @property
    def memory(self) -> PeakMemory:
        """Weights and peak."""
        return self.facts.memory


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
        facts=count_facts(model, example_input, images=images, setting=setting),
        latency=compare_latency({name: model}, example_input, **options),
    )


def count_facts(
    model: nn.Module,
    example_input: Tensor,
    *,
    images: Tensor | None = None,
    setting: Setting | None = None,
) -> Facts:
    """Count a model's cost and memory in the dtype and layout of ``setting``."""
    chosen = setting or Setting()
    form, x = chosen.eager(model), chosen.input(example_input)
    assert isinstance(form, nn.Module)
    return Facts(
        cost=count_cost(form, x),
        memory=peak_memory(form, x),
        distances={} if images is None else feature_distances(form, chosen.input(images)),
    )
