"""Tables as text, Markdown and HTML, and the records that print as one."""

from dataclasses import dataclass

import pytest

from convgate.tables import Readable, Table

TIMES = Table(
    head=("model", "median ms\n[5 %, 95 %]"),
    rows=[("resnet50", "12.3\n[11.9, 13.0]"), ("b", "4")],
    align="lr",
    title="one image",
    notes=("base: resnet50",),
)


def test_a_text_table_is_aligned_and_a_line_break_parts_a_cell():
    assert str(TIMES) == (
        "one image\n"
        "model        median ms\n"
        "           [5 %, 95 %]\n"
        "----------------------\n"
        "resnet50          12.3\n"
        "          [11.9, 13.0]\n"
        "b                    4\n"
        "base: resnet50"
    )


@pytest.mark.parametrize("width", [40, 60, None])
def test_text_folds_to_the_width_and_numbers_stay_whole(width):
    path = "features.denseblock3.denselayer24.conv2." * 3
    text = Table(("path", "MACs"), [(path, "123,456,789")], "lr").text(width)
    assert max(map(len, text.splitlines())) == (width or 80)
    assert "123,456,789" in text
    assert "".join(line.split("  ")[0] for line in text.splitlines()[2:]) == path


def test_a_long_note_folds_at_spaces():
    text = Table(("a",), [("1",)], notes=("word " * 30,)).text()
    assert text.splitlines()[3:] == [("word " * 16).strip(), ("word " * 14).strip()]


def test_markdown_escapes_what_would_part_a_cell():
    table = Table(("a|b", "n"), [("<i>x\\", "1\n[0, 2]")], "lr", notes=("a <b>",))
    assert table.markdown() == (
        "| a\\|b | n |\n| --- | ---: |\n| &lt;i>x\\\\ | 1<br>[0, 2] |\n\na &lt;b>"
    )


def test_what_would_colour_or_move_text_in_a_terminal_is_escaped():
    text = Table(("a\x1b[1m",), [("\x1b[31mred\n\x07",)], title="x\ny", notes=("\r",)).text()
    assert text.splitlines() == [r"x\ny", r"a\x1b[1m", "-" * 11, r"\x1b[31mred", r"\x07", r"\r"]
    assert r"\x1b[31mred<br>" in Table(("a",), [("\x1b[31mred\n",)]).html()


def test_html_is_escaped():
    page = Table(("<h>",), [("<script>\n&",)], title="<t>", notes=("<n>",)).html()
    assert "<caption>&lt;t&gt;</caption>" in page
    assert "&lt;script&gt;<br>&amp;</td>" in page
    assert "<p>&lt;n&gt;</p>" in page
    assert "<script>" not in page


def test_rows_and_alignment_fit_the_head():
    with pytest.raises(ValueError, match="2 columns"):
        Table(("a", "b"), [("1",)])
    with pytest.raises(ValueError, match="alignment 'l'"):
        Table(("a", "b"), [("1", "2")], "l")


@dataclass(frozen=True)
class Part(Readable):
    share: float


@dataclass(frozen=True)
class Whole(Readable):
    images_seen: int
    parts: tuple[Part, ...]
    reason: str | None = None


def test_a_record_prints_its_fields_and_turns_into_json_types():
    whole = Whole(50_000, (Part(0.25),))
    lines = [line.split("  ") for line in str(whole).splitlines()]
    fields = {name: cell.strip() for name, *_, cell in lines[2:]}
    assert fields == {"images seen": "50,000", "parts": "share=0.25", "reason": "-"}
    assert "<td" in whole._repr_html_()
    assert whole.to_dict() == {"images_seen": 50_000, "parts": [{"share": 0.25}], "reason": None}
