"""The picture of a table: what its points are, which rows are joined, and where names stand."""

import xml.etree.ElementTree as ET
from itertools import combinations

import pytest

from convgate.errors import InputError
from convgate.papers import load_table, run_table
from convgate.papers.plot import draw, marks_of, write_plot
from convgate.papers.points import Panel, panels_of


@pytest.fixture(scope="module")
def seln2():
    table = load_table("selnext.2")
    return table, panels_of(table, run_table("selnext.2", "*-t"))


def drawn(name, pattern="*", panels=None):
    table = load_table(name)
    rows = table.select(pattern)
    return draw(
        table, rows, panels or [Panel("x", {row.name: 9 + i for i, row in enumerate(rows)})]
    )


def test_counts_are_ours_and_latency_is_the_papers(seln2):
    _, panels = seln2
    assert [p.title for p in panels] == ["parameters, M", "FLOPs, G", "latency, s/it (reported)"]
    assert panels[0].values["convnext-t"] == 28.589128
    assert panels[1].values["swin-t"] == pytest.approx(4.491, abs=5e-4)
    assert panels[2].values["selnext-t"] == 0.160
    assert len(panels[0].values) == 4


def test_a_timed_row_stands_at_its_ratio_times_the_bases_median():
    table = load_table("ean.2")
    result = run_table("ean.2", "resnet56+s*", latency=True, seconds=0.3)
    panels = panels_of(table, result)
    assert [p.title for p in panels][2] == "latency here, ms (paired)"
    (report,) = result.latency
    row = report.row("resnet56+se")
    assert panels[2].values["resnet56+se"] == row.ratio * report.row("resnet56").median_ms
    assert set(panels[2].values) == {"resnet56+se", "resnet56+sa"}


def test_frames_a_second_stand_for_latency():
    table = load_table("ean.3")
    assert panels_of(table, run_table("ean.3", "resnet50*"))[2].title == "images/s (reported)"


def test_families_are_lines_and_each_point_bears_its_size():
    """SELN Table 2 has six families; of ConvNeXt V2 there is no S."""
    table = load_table("selnext.2")
    marks = marks_of(table.row)
    sizes = {}
    for row in table.row:
        sizes.setdefault(row.family, []).append(row.size)
    assert sizes.pop("ConvNeXt V2") == ["T", "B"]
    assert sizes == {
        name: ["T", "S", "B"] for name in ("Swin", "ConvNeXt", "HorNet 7x7", "HorNet GF", "SELNeXt")
    }
    assert len({mark.colour for mark in marks.values()}) == 6
    axes = drawn("selnext.2").axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) > 1]
    assert sorted(len(line.get_xdata()) for line in lines) == [2, 3, 3, 3, 3, 3]
    assert len(axes.texts) == 17


@pytest.mark.parametrize("name", ["ean.1", "ela.5", "ean.3", "selnext.2", "selnext.3"])
def test_names_and_numbers_do_not_overlap(name):
    """The boxes of all words outside of dots; letters lie on their dots."""
    figure = drawn(name)
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        words = [text for text in axes.texts if text.get_fontweight() != "bold"]
        boxes = [text.get_window_extent(renderer) for text in words]
        for one, other in combinations(boxes, 2):
            width = min(one.x1, other.x1) - max(one.x0, other.x0)
            height = min(one.y1, other.y1) - max(one.y0, other.y0)
            assert width < 1 or height < 1, name
        assert all(box.x0 > 0 and box.x1 < figure.bbox.x1 for box in boxes)


def test_two_accuracies_are_two_lines_of_panels():
    labels = [axes.get_ylabel() for axes in drawn("ean.1", "mobilenext*").axes if axes.get_ylabel()]
    assert labels == [f"top-1 on cifar{n}, % (reported)" for n in (10, 100)]


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
        write_plot(run_table("selnext.5"), tmp_path / "a.svg")
    result = run_table("selnext.9", "se")
    with pytest.raises(InputError, match=r"name an \.svg or a \.png"):
        write_plot(result, tmp_path / "a.pdf")
    with pytest.raises(InputError, match="in a folder that is there"):
        write_plot(result, tmp_path / "nowhere/a.svg")
    assert not list(tmp_path.iterdir())
