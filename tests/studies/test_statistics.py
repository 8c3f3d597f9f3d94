"""Paired differences, their intervals, and the Pareto front."""

import math
import random

import pytest
from scipy import stats

from convgate.studies.statistics import Difference, mean_and_std, paired_difference, pareto_front

BASE = {0: 70.1, 1: 71.4, 2: 69.8, 3: 70.9}
RIVAL = {0: 70.9, 1: 71.6, 2: 70.7, 3: 71.2}


def test_interval_is_that_of_a_paired_t_test():
    found = paired_difference(RIVAL, BASE)
    expected = stats.ttest_rel(list(RIVAL.values()), list(BASE.values())).confidence_interval(0.95)
    assert found.pairs == 4
    assert found.mean == pytest.approx((0.8 + 0.2 + 0.9 + 0.3) / 4)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_two_pairs_by_hand():
    # d = 1 and 3: mean 2, std sqrt(2), t(1) at 97.5 % = 12.7062, half width = 12.7062
    found = paired_difference({0: 11, 1: 13}, {0: 10, 1: 10})
    assert (found.mean, found.std) == pytest.approx((2.0, math.sqrt(2)))
    assert (found.low, found.high) == pytest.approx((2 - 12.7062, 2 + 12.7062), abs=1e-4)
    assert found.verdict == "no difference shown"


def test_only_common_seeds_are_paired():
    found = paired_difference({0: 1.0, 1: 5.0, 7: 99.0}, {0: 0.0, 1: 3.0, 2: 50.0})
    assert (found.pairs, found.mean) == (2, 1.5)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


def test_one_pair_has_no_interval():
    found = paired_difference({0: 71.0}, {0: 70.0})
    assert found == Difference(1, 1.0)
    assert found.verdict == "no interval" and not found.shown


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 0.9, "higher"),
        (-0.9, -0.1, "lower"),
        (-0.1, 0.9, "no difference shown"),
        (0.0, 0.9, "no difference shown"),
    ],
)
def test_verdict_needs_the_whole_interval(low, high, verdict):
    assert Difference(3, (low + high) / 2, 0.1, low, high).verdict == verdict


def test_equal_differences_show_nothing():
    # one more image right in both runs: a width of zero that says nothing about the next run
    found = paired_difference({0: 90.28, 1: 91.11}, {0: 90.0, 1: 90.83})
    assert found.high - found.low < 1e-9 and found.mean == pytest.approx(0.28)
    assert found.verdict == "no difference shown"


def test_mean_and_std():
    assert mean_and_std([2.0, 4.0]) == (3.0, pytest.approx(math.sqrt(2)))
    assert mean_and_std([2.0]) == (2.0, None)


def dominated(point, others):
    return any(o[0] <= point[0] and o[1] >= point[1] and o != point for o in others)


@pytest.mark.parametrize("seed", range(50))
def test_front_is_what_brute_force_finds(seed):
    draw = random.Random(seed)
    points = [(draw.randrange(6), draw.randrange(6)) for _ in range(draw.randrange(1, 12))]
    expected = {i for i, point in enumerate(points) if not dominated(point, points)}
    found = pareto_front(points)
    assert set(found) == expected and len(found) == len(expected)
    assert [points[i][0] for i in found] == sorted(points[i][0] for i in found)


def test_empty_and_unmeasured():
    nan = float("nan")
    assert pareto_front([]) == []
    assert pareto_front([(nan, 99.0), (1.0, nan), (2.0, 5.0)]) == [2]
