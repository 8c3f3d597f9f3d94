"""Charts as files: whole, equal for equal charts, and readable on a dark ground."""

import re

import altair as alt
import pytest
from PIL import Image

from convgate.charts import DARK, KINDS, LIGHT, SCALE, chart_spec, check_chart_path, write_chart
from convgate.errors import InputError


@pytest.fixture
def chart():
    """A hollow point, whose inside is the ground, a name and a title."""
    rows = [{"x": 1, "y": 2, "name": "se"}, {"x": 2, "y": 3, "name": "a <b>"}]
    base = alt.Chart(alt.Data(values=rows), title="A title").encode(x="x:Q", y="y:Q")
    return base.mark_point(fill=LIGHT.ground) + base.mark_text().encode(text="name:N")


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_chart_is_the_same_file(chart, tmp_path, kind):
    files = [tmp_path / f"{place}.{kind}" for place in range(8)]
    for file in files:
        write_chart(chart, file)
    assert len({file.read_bytes() for file in files}) == 1
    assert len(files[0].read_bytes()) > 1000


def test_a_pdf_finds_its_objects_where_its_table_says(chart, tmp_path):
    write_chart(chart, tmp_path / "c.pdf")
    data = (tmp_path / "c.pdf").read_bytes()
    start = int(re.search(rb"startxref\s+(\d+)", data)[1])
    places = [int(place) for place in re.findall(rb"(\d{10}) \d{5} n", data[start:])]
    assert len(places) > 5
    for number, place in enumerate(places, 1):
        assert data[place:].startswith(f"{number} 0 obj".encode())


def test_a_light_svg_turns_dark_with_its_reader_and_a_dark_one_is_dark(chart, tmp_path):
    write_chart(chart, tmp_path / "light.svg")
    write_chart(chart, tmp_path / "dark.svg", dark=True)
    light, dark = ((tmp_path / f"{name}.svg").read_text() for name in ("light", "dark"))
    style = re.search("<style>(.*?)</style>", light)[1]
    assert style.startswith("@media (prefers-color-scheme: dark){")
    drawn = light.replace(style, "")
    for was, now in zip(vars(LIGHT).values(), vars(DARK).values(), strict=True):
        used = {part for part in ("fill", "stroke") if f'{part}="{was}"' in drawn}
        assert all(f'[{part}="{was}"]{{{part}:{now}}}' in style for part in used)
        assert was not in dark and now not in drawn
    assert f'fill="{DARK.ground}"' in dark and "@media" not in dark
    assert "a &lt;b&gt;" in light


def test_a_png_has_more_pixels_than_the_svg_is_wide(chart, tmp_path):
    write_chart(chart, tmp_path / "c.svg", tmp_path / "c.png")
    sizes = re.search(r'width="(\d+)" height="(\d+)"', (tmp_path / "c.svg").read_text())
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.size == tuple(SCALE * int(size) for size in sizes.groups())


def test_a_chart_keeps_the_configuration_that_the_theme_leaves_open(chart):
    spec = chart_spec(chart.configure_point(size=7))
    assert spec["config"]["point"] == {"size": 7}
    assert spec["config"]["background"] == LIGHT.ground


def test_what_stands_there_is_replaced_only_by_force(chart, tmp_path):
    file = tmp_path / "c.svg"
    file.write_text("mine")
    with pytest.raises(InputError, match=r"c\.svg: exists already"):
        write_chart(chart, file)
    with pytest.raises(InputError, match=r"c\.svg: exists already"):
        write_chart(chart, tmp_path / "other.svg", file)
    assert file.read_text() == "mine" and list(tmp_path.iterdir()) == [file]
    write_chart(chart, file, force=True)
    assert file.read_text().startswith("<svg")


def test_a_name_that_no_chart_can_be_written_to_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"unknown kind of picture 'jpg'"):
        check_chart_path(tmp_path / "c.jpg")
    with pytest.raises(InputError, match="there is no folder"):
        check_chart_path(tmp_path / "absent" / "c.svg")
    (tmp_path / "d.svg").mkdir()
    with pytest.raises(InputError, match="is a folder; name a file"):
        check_chart_path(tmp_path / "d.svg", force=True)
