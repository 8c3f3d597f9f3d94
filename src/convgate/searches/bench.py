"""Times the networks of combinations on the engine that ships."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from convgate.deploy.engines import EngineConfig
from convgate.deploy.export import fold_if_it_can
from convgate.errors import InputError
from convgate.insertion import inserted
from convgate.measure import LatencyReport, compare_latency
from convgate.measure.settings import Model, noise
from convgate.searches.space import Combination, Space
from convgate.studies.grid import BASE, unique
from convgate.train.build import card_of, network_of
from convgate.train.job import TASKS
from convgate.train.recipe import Recipe
from convgate.train.trainer import quiet

SECONDS, SECONDS_EACH = 20.0, 2.0


@dataclass(frozen=True)
class Timing:
    """How latency is measured."""

    engine: str = "eager"  # one of `convgate.deploy.RUNTIMES`
    dtype: str | None = None  # of its arithmetic; None leaves the networks' own
    fold: bool = False  # whether networks are folded, as `export` ships them
    seconds: float | None = None  # for all of a comparison; two for each network by default


class Bench:
    """Builds combinations for the classes and the size of a recipe's pictures, and times them."""

    def __init__(self, recipe: Recipe, space: Space, timing: Timing) -> None:
        self.recipe, self.space, self.timing = recipe, space, timing
        config = EngineConfig(timing.engine, timing.dtype)
        layout = recipe.run.channels_last and config.in_torch
        self.config = replace(config, channels_last=layout)
        kind = TASKS[recipe.task.name]
        with quiet():
            data: Any = kind.open_data(recipe)
        self.classes = tuple(data.classes)
        self.size = kind.images(recipe, data).input_size  # (C, H, W)

    def time(self, combinations: Sequence[Combination]) -> LatencyReport:
        """Time combinations against the plain network, round by round in one process.

        Raises:
            InputError: if one cannot be built, folded, or run on the engine.
        """
        x = noise(self.size)
        ready: dict[str, Model] = {}
        notes: dict[str, str] = {}
        for combination in unique([self.space.plain, *combinations]):
            label = self.space.label(combination)
            try:
                model = learned(self._build(combination))
                model = fold_if_it_can(model, x)[0] if self.timing.fold else model
                prepared = self.config.prepare({label: model}, x)
            except InputError as error:
                raise InputError(
                    f"{label} cannot run on engine {self.timing.engine!r} ({error}); leave its "
                    "gate out, or choose another --engine"
                ) from error
            ready[label], notes = prepared.models[label], prepared.notes
        seconds = self.timing.seconds or max(SECONDS, SECONDS_EACH * len(ready))
        report = compare_latency(ready, x, base=BASE, seconds=seconds, **self.config.setting)
        return replace(report, environment=report.environment | notes)

    def _build(self, combination: Combination) -> nn.Module:
        recipe = self.space.recipe(self.recipe, combination)
        return network_of(recipe, card_of(recipe, self.classes, self.size[0]))


def learned(model: nn.Module) -> nn.Module:
    """Move the gates away from their first numbers, in place, as training does.

    So nothing that is exact at the start alone, such as a scale of one, is simplified away.
    """
    draw = torch.Generator().manual_seed(0)
    for _, gate, _ in inserted(model):
        for parameter in gate.parameters():
            parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=draw))
    return model.eval()
