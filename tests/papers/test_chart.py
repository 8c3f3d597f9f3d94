"""The picture of a table: what its points are, which rows are joined, and where names stand."""

import xml.etree.ElementTree as ET
from itertools import combinations

import pytest

from convgate.charts import chart_spec
from convgate.errors import InputError
from convgate.papers import load_table, run_table
from convgate.papers.chart import (
    PANEL,
    CostAxis,
    _scales,
    accuracies,
    cost_axes,
    draw,
    marks_of,
    points_of,
    write_plot,
)
from convgate.papers.run import TableTiming


@pytest.fixture(scope="module")
def seln2():
    table = load_table("selnext.2")
    return table, cost_axes(table, run_table("selnext.2", "*-t"))


def chosen(name, pattern="*"):
    """A table, some of its rows, and an axis with another value for each."""
    table = load_table(name)
    rows = table.select(pattern)
    return table, rows, CostAxis("x", {row.name: 9 + i for i, row in enumerate(rows)})


def test_counts_are_ours_and_latency_is_the_papers(seln2):
    _, axes = seln2
    assert [a.title for a in axes] == ["parameters, M", "FLOPs, G", "latency, s/it (reported)"]
    assert axes[0].values["convnext-t"] == 28.589128
    assert axes[1].values["swin-t"] == pytest.approx(4.491, abs=5e-4)
    assert axes[2].values["selnext-t"] == 0.160
    assert len(axes[0].values) == 4


def test_a_timed_row_stands_at_its_ratio_times_the_bases_median():
    table = load_table("ean.2")
    result = run_table("ean.2", "resnet56+s*", timing=TableTiming(seconds=0.3))
    axes = cost_axes(table, result)
    assert [a.title for a in axes][2] == "latency here, ms (paired)"
    (report,) = result.latency
    row = report.row("resnet56+se")
    assert axes[2].values["resnet56+se"] == row.ratio * report.row("resnet56").median_ms
    assert set(axes[2].values) == {"resnet56+se", "resnet56+sa"}


def test_frames_a_second_stand_for_latency():
    table = load_table("ean.3")
    result = run_table("ean.3", "resnet50")
    assert cost_axes(table, result)[2].title == "images/s (reported)"


def test_families_are_lines_and_each_point_bears_its_size():
    """SELN Table 2 has six families; of ConvNeXt V2 there is no S."""
    table, rows, axis = chosen("selnext.2")
    marks = marks_of(rows)
    sizes = {}
    for row in rows:
        sizes.setdefault(row.family, []).append(row.size)
    assert sizes.pop("ConvNeXt V2") == ["T", "B"]
    assert sizes == {
        name: ["T", "S", "B"] for name in ("Swin", "ConvNeXt", "HorNet 7x7", "HorNet GF", "SELNeXt")
    }
    assert len({mark.colour for mark in marks.values()}) == 6
    points = points_of(rows, "top1", axis, marks)
    assert all(point["lettered"] and point["text"] in "TSB" for point in points)
    assert {p["name"]: p["y"] for p in points}["SELNeXt-T"] == 82.6
    spec = chart_spec(draw(table, rows, [axis]))
    panel = spec["hconcat"][0]["vconcat"][0]["hconcat"][0]
    (line,) = [layer for layer in panel["layer"] if layer["mark"]["type"] == "line"]
    assert line["encoding"]["detail"]["field"] == "family"
    assert line["encoding"]["order"]["field"] == "x"
    drawn = [list(data) for data in spec["datasets"].values() if "lettered" in data[0]]
    assert drawn == [points]
    assert len(points) == 17


@pytest.mark.parametrize("name", ["ean.1", "ela.5", "ean.3", "selnext.2", "selnext.3"])
def test_names_and_numbers_do_not_overlap(name):
    """Numbers are 9 pixels high and at most 6 wide a digit; letters lie on their dots."""
    table, rows, axis = chosen(name)
    marks = marks_of(rows)
    for column in accuracies(table):
        points = points_of(rows, column, axis, marks)
        x_range, y_range = _scales(points)
        boxes = []
        for point in points:
            if not point["lettered"]:
                left = 1 + PANEL[0] * x_range.share(point["label_x"])
                middle = PANEL[1] * y_range.share(point["label_y"])
                boxes.append((left, left + 6 * len(point["text"]), middle - 4.5, middle + 4.5))
        for one, other in combinations(boxes, 2):
            width = min(one[1], other[1]) - max(one[0], other[0])
            height = min(one[3], other[3]) - max(one[2], other[2])
            assert width < 1 or height < 1, name
        assert all(b[0] > 0 and b[1] < PANEL[0] and b[2] > 0 and b[3] < PANEL[1] for b in boxes)
    names = chart_spec(draw(table, rows, [axis]))["hconcat"][1]
    listed = dict.fromkeys((mark.name, mark.colour) for mark in marks.values())
    assert names["height"] >= 15 * len(listed)


def test_two_accuracies_are_two_lines_of_panels():
    table, rows, axis = chosen("ean.1", "mobilenext*")
    lines = chart_spec(draw(table, rows, [axis, axis]))["hconcat"][0]["vconcat"]
    titles = [
        [panel["layer"][0]["encoding"]["y"]["title"] for panel in line["hconcat"]] for line in lines
    ]
    assert titles == [[f"top-1 on cifar{n}, % (reported)", None] for n in (10, 100)]


def test_an_svg_is_whole_the_same_each_time_and_knows_the_dark(tmp_path):
    result = run_table("ean.2", "resnet56")
    for name in ("a.svg", "b.svg"):
        write_plot(result, tmp_path / name)
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    ET.fromstring(text)
    assert "prefers-color-scheme: dark" in text
    write_plot(result, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "a.svg", "b.svg"]


def test_what_cannot_be_drawn_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"selnext\.5 has no top-1 accuracy to plot"):
        write_plot(run_table("selnext.5", "mask-rcnn+convnext-t"), tmp_path / "a.svg")
    result = run_table("selnext.9", "se")
    with pytest.raises(InputError, match=r"unknown kind of picture 'jpg'"):
        write_plot(result, tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"there is no folder .*nowhere; create it"):
        write_plot(result, tmp_path / "nowhere/a.svg")
    assert not list(tmp_path.iterdir())
    (tmp_path / "a.svg").write_text("mine")
    with pytest.raises(InputError, match=r"a\.svg: exists already"):
        write_plot(result, tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text() == "mine"
