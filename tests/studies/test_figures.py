"""What the figures show, and where their names stand."""

import re
from itertools import pairwise
from types import SimpleNamespace

import pytest

from convgate.charts import write_chart
from convgate.studies.drawings import draw_curves, percent_limits
from convgate.studies.figures import curves_of, differences, latency_ratios


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
    assert [p["x"] for p in none["points"]] == [1, 2, 3]
    assert [p["y"] for p in none["points"]] == [15, 32, 52]
    assert [(p["low"], p["high"]) for p in none["points"]] == [(10, 20), (30, 34), (50, 54)]
    assert [p["low"] for p in se["points"]] == [p["high"] for p in se["points"]]
    assert (none["label"], se["label"]) == ("none", "se")


def test_rows_of_intervals_hold_what_was_compared(row, cost):
    base = {0: 50.0, 1: 54.0}
    rows = (
        row("none", base, cost=cost(1.0)),
        row("se", {0: 53.0, 1: 55.0}, base, cost(1.2, 1.1, 1.4)),
        row("eca", {0: 51.0}, base),  # one pair and no latency
    )
    result = SimpleNamespace(rows=rows)
    se, eca = differences(result)
    assert (se["label"], se["x"]) == ("se", 2.0)  # of 3 and 1
    assert se["high"] - 2 == pytest.approx(12.7062)  # t(0.975, 1) sqrt(2) / sqrt(2)
    assert (eca["x"], eca["low"], eca["high"]) == (1.0, 1.0, 1.0)
    assert [(p["label"], p["x"], p["low"], p["high"]) for p in latency_ratios(result)] == [
        ("se", 1.2, 1.1, 1.4)
    ]


def test_names_of_curves_that_end_alike_do_not_overlap(row, tmp_path):
    """Read from the file: each name is one text, at the right of all else, below the other."""
    names = ("none", "se", "ca", "eca")
    rows = [row(g, {0: 50.0}, curves={0: epochs(10, 50)}) for g in names]
    chart = draw_curves(curves_of(SimpleNamespace(rows=rows), "top1"), "top-1, %")
    write_chart(chart, tmp_path / "c.svg")
    svg = (tmp_path / "c.svg").read_text()
    width, height = (float(n) for n in re.search(r'width="(\d+)" height="(\d+)"', svg).groups())
    pattern = r'<text[^>]*translate\(([\d.]+),([\d.]+)\)"[^>]*font-size="(\d+)px"[^>]*>(\w+)</text>'
    placed = [(n, float(x), float(y), int(px)) for x, y, px, n in re.findall(pattern, svg)]
    texts = {name: (x, y, px) for name, x, y, px in placed if name in names}
    assert texts.keys() == set(names)
    ys = sorted(y for _, y, _ in texts.values())
    assert all(b - a >= 1.2 * px for a, b in pairwise(ys) for *_, px in placed)
    assert ys[0] > 0 and ys[-1] < height
    assert all(x > 460 and x + px * len(name) < width + px for name, (x, _, px) in texts.items())


@pytest.mark.parametrize(
    ("y", "reach", "limits"),
    [
        (50.0, 10.0, (40 - 1.6, 60 + 1.6)),  # 8 % of the height at either end
        (98.0, 4.0, (94 - 0.64, 100 + 0.02 * 6.64)),  # 102 % is no accuracy
        (1.0, 3.0, (-0.02 * 4.48, 4 + 0.48)),
    ],
)
def test_the_figure_ends_where_percentages_do(y, reach, limits):
    assert percent_limits([y - reach, y + reach]) == pytest.approx(limits)
