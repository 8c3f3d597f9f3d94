"""Latency of every gate in every stage, and of their combinations by a sum that is checked."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from convgate.errors import CorruptFile, InputError
from convgate.measure import LatencyReport, LatencyRow
from convgate.searches.space import Combination, Space
from convgate.storage import write_text
from convgate.studies.grid import BASE

CHECKS = 10
"""Combinations that the sum has not seen and is checked on."""


@dataclass(frozen=True)
class Ratio:
    """Latency over that of the plain network, paired round by round, with its 95 % interval."""

    ratio: float
    low: float
    high: float
    median_ms: float

    @classmethod
    def of(cls, row: LatencyRow) -> "Ratio":
        return cls(row.ratio, row.ratio_low, row.ratio_high, row.median_ms)


@dataclass(frozen=True)
class LatencyModel:
    """Latency of a combination as a sum: 1 + the extra of each gate alone.

    ``singles`` and ``checks`` are what was measured; the sum has not seen the checks.
    """

    plain_ms: float
    singles: Mapping[Combination, Ratio]
    checks: Mapping[Combination, Ratio]
    space: Space
    conditions: Mapping[str, Any] = field(default_factory=dict)

    def predict(self, combination: Combination) -> float:
        """Return the latency ratio to expect: measured where one gate is alone, else the sum."""
        return 1 + sum(
            self.singles[self.space.single(stage, gate)].ratio - 1
            for stage, gate in zip(self.space.stages, combination, strict=True)
            if gate != BASE
        )

    @property
    def errors(self) -> list[float]:
        """Predicted minus measured ratio of each check."""
        return [self.predict(c) - found.ratio for c, found in self.checks.items()]

    @property
    def tolerance(self) -> float:
        """The largest error of the checks: within it the sum says nothing."""
        return max(map(abs, self.errors), default=0.0)

    def may_fit(self, combination: Combination, budget: float) -> bool:
        """Whether a combination can lie within the budget, as far as the sum can tell."""
        return self.predict(combination) - self.tolerance <= budget

    def describe(self) -> str:
        """Return how far the sum is off, in one sentence."""
        if not self.checks:
            return "There is no combination of several gates to check the sum of latencies on."
        mean = sum(map(abs, self.errors)) / len(self.errors)
        return (
            f"The sum of latencies is off by {mean:.3f}x on average and {self.tolerance:.3f}x at "
            f"most, on {len(self.checks)} random combinations that it had not seen."
        )

    def check_budget(self, budget: float) -> None:
        """Ask that the budget allows something.

        Raises:
            InputError: if no combination can lie within it.
        """
        if any(self.may_fit(c, budget) for c in self.singles):
            return
        cheapest = min(self.singles, key=lambda c: self.singles[c].ratio)
        found = self.singles[cheapest]
        raise InputError(
            f"budget={budget}: nothing meets it; the cheapest is {self.space.label(cheapest)} at "
            f"{found.ratio:.3f}x [{found.low:.3f}, {found.high:.3f}] of the plain network's "
            "latency; give a higher --budget, or cheaper gates"
        )

    def write(self, path: Path) -> None:
        table = {
            "plain_ms": self.plain_ms,
            "singles": _rows(self.singles),
            "checks": _rows(self.checks),
            "conditions": dict(self.conditions),
        }
        write_text(path, json.dumps(table, indent=1) + "\n")


def _rows(found: Mapping[Combination, Ratio]) -> list[dict[str, Any]]:
    return [{"gates": list(c)} | asdict(ratio) for c, ratio in found.items()]


def read_latency(path: Path, space: Space) -> LatencyModel | None:
    """Read what a search has measured; None where it has not."""
    if not path.is_file():
        return None
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        singles, checks = _read_rows(table["singles"]), _read_rows(table["checks"])
        return LatencyModel(table["plain_ms"], singles, checks, space, table["conditions"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFile(
            f"{path}: not a search's latencies ({type(error).__name__}: {error}); delete it and "
            "they are measured again"
        ) from None


def _read_rows(rows: Sequence[dict[str, Any]]) -> dict[Combination, Ratio]:
    return {tuple(row.pop("gates")): Ratio(**row) for row in map(dict, rows)}


def measure_latency(
    space: Space, time: Callable[[Sequence[Combination]], LatencyReport], seed: int
) -> LatencyModel:
    """Measure every gate in every stage alone, and random combinations, in the same rounds.

    Args:
        space: What there is to choose.
        time: Times combinations against the plain network, as `Bench.time`.
        seed: Of the random combinations.
    """
    singles = space.singles()
    checks = draw_checks(space, CHECKS, seed)
    report = time([*singles, *checks])
    found = {c: Ratio.of(report.row(space.label(c))) for c in (*singles, *checks)}
    taken = report.to_dict()
    taken.pop("rows")
    return LatencyModel(
        report.row(BASE).median_ms,
        {c: found[c] for c in singles},
        {c: found[c] for c in checks},
        space,
        taken,
    )


def draw_checks(space: Space, count: int, seed: int) -> list[Combination]:
    """Draw combinations of several gates at random, each once; fewer where there are fewer."""
    draw = random.Random(seed)
    alone = {space.plain, *space.singles()}
    left = space.size - len(alone)
    found: list[Combination] = []
    while len(found) < min(count, left):
        drawn = tuple(draw.choice(each) for each in space.choices.values())
        if drawn not in alone and drawn not in found:
            found.append(drawn)
    return found
