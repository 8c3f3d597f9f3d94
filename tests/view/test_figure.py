"""Files that are whole, the same every time, and dark where their reader's scheme is."""

import csv

import pytest

from convgate.charts import DARK, LIGHT
from convgate.errors import InputError
from convgate.view import figure as figures

ROWS = [{"layer": "a, b", "distance": 0.25}]


def drawn(ink=LIGHT):
    figure = figures.new_figure(3, 2, ink)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], label="x")
    figures.style_axes(axes, ink)
    return figure


@pytest.mark.parametrize("kind", figures.KINDS)
def test_a_picture_and_its_numbers_are_the_same_files_every_time(tmp_path, kind):
    one, other = tmp_path / f"one.{kind}", tmp_path / f"other.{kind}"
    for path in (one, other):
        figures.write(drawn(), path, ROWS)
    assert one.read_bytes() == other.read_bytes()
    with one.with_suffix(".csv").open() as file:
        assert list(csv.DictReader(file)) == [{"layer": "a, b", "distance": "0.25"}]
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".csv", ".csv", f".{kind}", f".{kind}"]


def test_a_light_svg_exchanges_every_colour_that_changes(tmp_path):
    figures.write(drawn(), tmp_path / "light.svg", ROWS)
    text = (tmp_path / "light.svg").read_text()
    rules = text.partition("@media (prefers-color-scheme: dark)")[2].partition("</style>")[0]
    for light, dark in zip(vars(LIGHT).values(), vars(DARK).values(), strict=True):
        assert f'[style*="fill: {light}"]{{fill:{dark} !important}}' in rules
        assert f'[style*="stroke: {light}"]{{stroke:{dark} !important}}' in rules
    body = text.partition("</style>")[2]
    assert f"fill: {LIGHT.ground}" in body and f"fill: {LIGHT.soft}" in body
    assert "#000000" not in body and "black" not in body


def test_a_dark_one_stays_dark(tmp_path):
    figures.write(drawn(DARK), tmp_path / "dark.svg", ROWS, dark=True)
    text = (tmp_path / "dark.svg").read_text()
    assert "prefers-color-scheme" not in text
    assert f"fill: {DARK.ground}" in text and LIGHT.ground not in text


def test_what_goes_wrong_leaves_the_old_picture(tmp_path, monkeypatch):
    path = tmp_path / "a.svg"
    path.write_text("old")

    def stop(*_, **__):
        raise KeyboardInterrupt

    figure = drawn()
    monkeypatch.setattr(figure, "savefig", stop)
    with pytest.raises(KeyboardInterrupt):
        figures.write(figure, path, ROWS)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.svg"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.jpg", "unknown kind of picture 'jpg'; did you mean 'png'"),
        ("picture", "unknown kind of picture"),
        ("nowhere/a.svg", "there is no such folder to write a.svg to"),
    ],
)
def test_a_name_that_no_picture_can_have(tmp_path, name, said):
    with pytest.raises(InputError, match=said):
        figures.check_picture(tmp_path / name)


def test_a_label_is_not_read_as_mathematics():
    assert figures.plain("a$b$") == r"a\$b\$"
    assert figures.plain("one two three", 8) == "one two\nthree"
