import random
from itertools import pairwise

import pytest

from convgate.charts import spread_out


@pytest.mark.parametrize("seed", range(20))
def test_neighbours_are_apart_in_order_and_inside(seed):
    draw = random.Random(seed)
    places = [draw.choice([0.0, 0.5, 1.0, draw.random()]) for _ in range(draw.randrange(1, 9))]
    moved = spread_out(places, 0.1, 0.0, 1.0)
    ordered = sorted(moved)
    assert all(b - a >= 0.1 - 1e-9 for a, b in pairwise(ordered))
    assert ordered[0] >= -1e-9 and ordered[-1] <= 1 + 1e-9
    order = sorted(range(len(places)), key=lambda i: places[i])
    assert [moved[i] for i in order] == ordered


def test_what_is_apart_stays():
    assert spread_out([0.2, 0.9, 0.5], 0.1, 0.0, 1.0) == pytest.approx([0.2, 0.9, 0.5])


def test_a_pair_moves_apart_by_equal_steps():
    assert spread_out([0.5, 0.5], 0.2, 0.0, 1.0) == pytest.approx([0.4, 0.6])


def test_too_many_share_the_line_evenly():
    assert sorted(spread_out([0.5] * 5, 9.0, 0.0, 1.0)) == pytest.approx([0, 0.25, 0.5, 0.75, 1])
