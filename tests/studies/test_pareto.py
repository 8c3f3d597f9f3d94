import random

import pytest

from convgate.studies.pareto import pareto_front


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
