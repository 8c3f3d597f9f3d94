"""Quantiles, bootstrap intervals and verdict words of paired latency samples."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from convgate.tables import Readable

Verdict = Literal["base", "faster", "slower", "no difference"]

_CHUNK = 2**21  # numbers resampled at once, 16 MiB


@dataclass(frozen=True)
class Interval(Readable):
    """A median with its 95 % interval."""

    median: float
    low: float
    high: float

    @property
    def width(self) -> float:
        return self.high - self.low

    def contains(self, value: float) -> bool:
        return self.low <= value <= self.high


def quantile(values: Sequence[float], share: float) -> float:
    """Return the linearly interpolated quantile, for instance 0.5 for the median."""
    return float(torch.quantile(torch.tensor(values, dtype=torch.float64), share))


def median(values: Sequence[float]) -> float:
    return quantile(values, 0.5)


def bootstrap_median(
    values: Sequence[float], *, seed: int = 0, resamples: int = 2000, level: float = 0.95
) -> Interval:
    """Return the median with its percentile bootstrap interval.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    data = torch.tensor(values, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    step = max(1, _CHUNK // len(values))
    sizes = [min(step, resamples - start) for start in range(0, resamples, step)]
    medians = torch.cat([_resampled_medians(data, size, generator) for size in sizes])
    tail = (1 - level) / 2
    low, high = torch.quantile(medians, torch.tensor([tail, 1 - tail], dtype=torch.float64))
    return Interval(float(data.quantile(0.5)), float(low), float(high))


def _resampled_medians(data: Tensor, resamples: int, generator: torch.Generator) -> Tensor:
    picks = torch.randint(len(data), (resamples, len(data)), generator=generator)
    ordered = data[picks].sort(1).values
    lower, upper = (len(data) - 1) // 2, len(data) // 2
    return (ordered[:, lower] + ordered[:, upper]) / 2


def verdict(ratio: Interval, margin: float) -> Verdict:
    """Return a word for a latency ratio: a difference needs its whole interval past the margin."""
    if ratio.high < 1 - margin:
        return "faster"
    if ratio.low > 1 + margin:
        return "slower"
    return "no difference"


def outlier_share(values: Sequence[float]) -> float:
    """Return the share of values more than 1.5 interquartile ranges outside the quartiles."""
    first, third = quantile(values, 0.25), quantile(values, 0.75)
    reach = 1.5 * (third - first)
    outside = sum(not first - reach <= value <= third + reach for value in values)
    return outside / len(values)


def spread(values: Sequence[float]) -> float:
    """Return the interquartile range over the median."""
    return (quantile(values, 0.75) - quantile(values, 0.25)) / median(values)


def drift(values: Sequence[float]) -> float:
    """Return how far the median of the last third lies from that of the first, relatively."""
    third = max(1, math.ceil(len(values) / 3))
    return abs(median(values[-third:]) / median(values[:third]) - 1)


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the sample standard deviation (0 for a single value)."""
    data = torch.tensor(values, dtype=torch.float64)
    return float(data.mean()), float(data.std()) if len(values) > 1 else 0.0
