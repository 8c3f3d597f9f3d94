"""The arithmetic behind the page about rankings, against counts by hand."""

import pytest
from benchmarks.search_page import best_of_random, path_cost, short_cost, tau


def test_the_best_of_two_of_three_is_the_mean_over_the_pairs():
    assert best_of_random([3.0, 1.0, 2.0], 2) == pytest.approx((2 + 3 + 3) / 3)
    assert best_of_random([3.0, 1.0, 2.0], 3) == 3
    assert best_of_random([3.0, 1.0, 2.0], 1) == 2


def test_costs_are_counted_in_pictures_a_look_for_a_third():
    run = 8 * (2500 + 2000 / 3)  # eight epochs, each validated
    paths = 8 * (2000 + 500 / 3) + 64 * (1024 + 500) / 3
    assert path_cost(64) == pytest.approx(paths / run)
    assert short_cost(64, 2) == pytest.approx(64 * 2 * (2000 + 500 / 3) / run)


def test_agreement_is_of_what_both_have():
    """One of three pairs is the other way round: (2 - 1) / 3."""
    scores, truth = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 9.0}, {"a": 5.0, "b": 7.0, "c": 6.0}
    assert tau(scores, truth).startswith("+0.33") and "n = 3" in tau(scores, truth)
    assert tau({"a": 1.0}, truth) == "-"
