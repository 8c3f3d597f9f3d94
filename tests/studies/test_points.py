import pytest

from convgate.studies.points import Point, frame


def point(y, reach):
    return Point("se", "se", "#000", 1.0, (0.9, 1.1), y, (y - reach, y + reach), False)


@pytest.mark.parametrize(
    ("y", "reach", "limits"),
    [
        (50.0, 10.0, (40 - 1.6, 60 + 1.6)),  # 8 % of the height at either end
        (98.0, 4.0, (94 - 0.64, 100 + 0.02 * 6.64)),  # 102 % is no accuracy
        (1.0, 3.0, (-0.02 * 4.48, 4 + 0.48)),
    ],
)
def test_the_picture_ends_where_percentages_do(y, reach, limits):
    assert frame([point(y, reach)], None, 0.05).y == pytest.approx(limits)
