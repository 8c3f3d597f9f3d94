"""Paired differences: the same seed against the same seed, with a Student t interval."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from scipy import stats

CONFIDENCE = 0.95
EQUAL = 1e-9
"""Widths below this are rounding: differences of equal values are not exactly equal."""


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences, and how sure it is; all in the unit of the values compared.

    Args:
        pairs: How many seeds both sides have.
        mean: Mean of the differences, rival - base.
        std: Their standard deviation (n - 1); None for a single pair.
        low: Lower end of the 95 % interval; None for a single pair.
        high: Upper end; None for a single pair.
    """

    pairs: int
    mean: float
    std: float | None = None
    low: float | None = None
    high: float | None = None

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
        """True where the interval lies on one side of zero."""
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
    rival: Mapping[int, float], base: Mapping[int, float], *, confidence: float = CONFIDENCE
) -> Difference | None:
    """Compare two sets of values by their common keys (seeds); None where they share none.

        d_i = rival_i - base_i,    mean(d) +- t(n - 1) std(d) / sqrt(n)

    Source: Student's t interval of the mean of paired differences.
    """
    differences = [rival[seed] - base[seed] for seed in sorted(rival.keys() & base.keys())]
    if not differences:
        return None
    mean, std = mean_and_std(differences)
    if std is None:
        return Difference(1, mean)
    n = len(differences)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * std / math.sqrt(n)
    return Difference(n, mean, std, mean - half, mean + half)
