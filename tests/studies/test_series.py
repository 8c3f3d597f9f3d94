"""The lines of the pictures, and the pictures themselves."""

from types import SimpleNamespace

import pytest
from matplotlib.text import Text

from convgate.studies.line_pictures import draw_curves
from convgate.studies.series import curves_of


def epochs(*top1):
    return [{"epoch": i, "top1": value} for i, value in enumerate(top1, 1)]


@pytest.fixture
def result(row):
    base = {0: 50.0, 1: 54.0}
    return SimpleNamespace(
        rows=(
            row("none", base, curves={0: epochs(10, 30, 50), 1: epochs(20, 34, 54)}),
            row("se", {0: 53.0, 1: 53.0}, base, curves={0: epochs(12, 30, 53)}),
            row("eca", {0: 52.0, 1: 52.0}, base, curves={0: []}),
        )
    )


def test_a_curve_is_the_mean_with_the_range_of_its_seeds(result):
    none, se = curves_of(result, "top1")  # eca has no epochs
    assert none.epochs == (1, 2, 3)
    assert none.mean == (15, 32, 52)
    assert (none.low, none.high) == ((10, 30, 50), (20, 34, 54))
    assert (none.label, none.seeds, se.label, se.seeds) == ("none", 2, "se", 1)


def test_names_of_curves_that_end_alike_do_not_overlap(row):
    rows = [row(g, {0: 50.0}, curves={0: epochs(10, 50)}) for g in ("none", "se", "ca", "eca")]
    figure = draw_curves(curves_of(SimpleNamespace(rows=rows), "top1"))
    figure.canvas.draw()
    # an annotation's own extent holds its line, too
    boxes = [Text.get_window_extent(text) for text in figure.axes[0].texts]
    assert len(boxes) == 4
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
