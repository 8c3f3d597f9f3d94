"""Quantiles, intervals and words against closed forms."""

import math

import pytest
import torch

from convgate.measure.statistics import (
    Interval,
    bootstrap_median,
    drift,
    mean_and_deviation,
    median,
    outlier_share,
    quantile,
    spread,
    verdict,
)


def test_quantiles():
    assert median([3.0, 1.0, 2.0]) == 2
    assert median([4.0, 1.0, 2.0, 3.0]) == 2.5
    assert quantile(range(101), 0.05) == pytest.approx(5)


def test_bootstrap_of_three_values_has_the_known_distribution():
    # The median of a resample of {1, 2, 3} is 1 with probability 7/27 (at least two of three draws
    # are 1), so the 10 % quantile is 1; it is above 1 with 20/27, so the 45 % quantile is 2.
    wide = bootstrap_median([1.0, 2.0, 3.0], level=0.8)
    narrow = bootstrap_median([1.0, 2.0, 3.0], level=0.1)
    assert (wide.median, wide.low, wide.high) == (2, 1, 3)
    assert (narrow.low, narrow.high) == (2, 2)


def test_bootstrap_width_follows_the_median_of_normal_samples():
    # The standard error of the median of n normal samples is sqrt(pi / 2n): ±1.96 of them.
    values = torch.randn(2000, generator=torch.Generator().manual_seed(1)).tolist()
    expected = 2 * 1.96 * math.sqrt(math.pi / 2 / 2000)
    assert bootstrap_median(values).width == pytest.approx(expected, rel=0.25)


def test_bootstrap_covers_the_truth_nearly_95_times_in_100():
    draws = torch.randn(200, 41, generator=torch.Generator().manual_seed(2))
    covered = sum(bootstrap_median(d.tolist(), resamples=400).contains(0) for d in draws)
    assert 0.90 <= covered / 200 <= 0.99


def test_bootstrap_is_the_same_for_the_same_seed_and_without_spread_a_point():
    values = [1.0, 1.2, 0.9, 1.1, 1.05]
    assert bootstrap_median(values, seed=3) == bootstrap_median(values, seed=3)
    assert bootstrap_median([2.0] * 9) == Interval(2, 2, 2)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.90, 0.97, "faster"),
        (1.03, 1.10, "slower"),
        (0.99, 1.01, "no difference"),
        (1.001, 1.015, "no difference"),  # surely slower, and by less than the margin
        (1.01, 1.06, "no difference"),  # not shown to be beyond the margin
        (0.90, 0.985, "no difference"),
    ],
)
def test_verdict_words(low, high, word):
    assert verdict(Interval((low + high) / 2, low, high), margin=0.02) == word


def test_outliers_spread_and_drift():
    assert outlier_share([1.0] * 9 + [50.0]) == 0.1
    assert outlier_share([float(n) for n in range(100)]) == 0
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx((4 - 2) / 3)
    assert drift([1.0] * 10 + [1.5] * 10 + [1.1] * 10) == pytest.approx(0.1)


def test_mean_and_deviation():
    assert mean_and_deviation([1.0, 2.0, 3.0]) == (2, 1)
    assert mean_and_deviation([7.0]) == (7, 0)
