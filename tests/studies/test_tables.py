import pytest

from convgate.studies.statistics import Difference
from convgate.studies.tables import count, duration, points, spread


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (640, "640"),
        (999, "999"),
        (1000, "1.00 k"),
        (12_345, "12.3 k"),
        (270_896, "271 k"),
        (999_499, "999 k"),
        (999_600, "1.00 M"),
        (35_126_656, "35.1 M"),
        (4_500_000_000, "4.50 G"),
    ],
)
def test_count(number, text):
    assert count(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (48, "48 s"), (720, "12 min"), (5399, "1 h 30 min"), (11100, "3 h 05 min")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_points_and_spread():
    assert points(Difference(3, 0.42, 0.1, 0.1, 0.74)) == "+0.42 points [+0.10, +0.74]"
    assert points(Difference(1, -0.5)) == "-0.50 points"
    assert (spread(71.3, 0.42), spread(71.3, None), spread(None, None)) == (
        "71.30 ± 0.42",
        "71.30",
        "-",
    )


def test_nothing_is_below_zero_by_rounding():
    assert points(Difference(2, -0.001, 0.1, -0.004, 0.002)) == "+0.00 points [+0.00, +0.00]"
