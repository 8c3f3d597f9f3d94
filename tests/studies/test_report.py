"""What the report files hold, read back from the files."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from convgate.charts import chart_spec
from convgate.networks import Card, build_network, save_network
from convgate.studies import run_study
from convgate.studies.figures import figures_of
from convgate.studies.report import cell
from convgate.train.sections import StudySpec

EVIL = "<script>alert('x')</script>"


class Page(HTMLParser):
    """Tags with their attributes, and the text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.scripts, self.inside = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        place = self.scripts if self.inside == "script" else self.text
        if self.inside != "style":
            place.append(data)

    @property
    def specs(self):
        """The figures: Vega-Lite as JSON, which no browser runs as a script."""
        kinds = [attrs.get("type") for tag, attrs in self.tags if tag == "script"]
        found = zip(kinds, self.scripts, strict=True)
        return [json.loads(text) for kind, text in found if kind == "application/json"]


@pytest.fixture(scope="module")
def study(recipe, fake, tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    return run_study(recipe, out, steps=fake, gates=["se", "eca", "ca"], seeds=3, progress=False)


def page_of(result):
    return Page((result.out / "report.html").read_text(encoding="utf-8"))


def test_page_loads_nothing(study):
    page = page_of(study)
    for tag, attrs in page.tags:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base")
        assert not {"src", "href", "srcset", "action", "data"} & attrs.keys()
    style = re.search("<style>(.*?)</style>", (study.out / "report.html").read_text(), re.S)
    assert "url(" not in style[1] and "@import" not in style[1]


def test_answer_stands_first_everywhere(study):
    page = page_of(study)
    text = [line.strip() for line in page.text if line.strip()]
    assert text[1] == study.answer  # after the title
    assert (study.out / "report.md").read_text().splitlines()[0] == cell(study.answer)
    assert json.loads((study.out / "summary.json").read_text())["answer"] == study.answer


def test_page_has_all_parts(study):
    page = page_of(study)
    text = " ".join(page.text)
    for title in (
        "Accuracy and latency",
        "Difference to the base",
        "Latency over the base's",
        "Validation accuracy while training",
        "Training loss",
        "How to read it",
        "Data and training",
        "Latency",
        "Environment",
        "Runs",
    ):
        assert title in page.text
    assert "100 images" in text and "50 images" in text
    assert study.command in text
    for row in study.rows:
        assert f"{row.mean:.2f} ± {row.std:.2f}" in text
        if row.difference:
            assert f"[{row.difference.low:+.2f}, {row.difference.high:+.2f}]" in text
    assert len(page.specs) == 5
    assert any("window.vegaEmbed" in script for script in page.scripts)


def test_page_and_file_show_one_specification(study):
    """What the page adds: its own width and ground."""
    specs = {figure.stem: chart_spec(figure.chart) for figure in figures_of(study)}
    fitted = {"width", "autosize", "background"}
    for ours, drawn in zip(specs.values(), page_of(study).specs, strict=True):
        assert {k: v for k, v in drawn.items() if k not in fitted} == {
            k: v for k, v in json.loads(json.dumps(ours)).items() if k not in fitted
        }
    for stem in specs:
        svg = (study.out / f"{stem}.svg").read_text()
        assert all(f">{row.label}</text>" in svg for row in study.rows if row.difference)


def test_a_report_is_small(study):
    assert (study.out / "report.html").stat().st_size < 1_500_000


def test_markdown_has_the_same_table(study):
    lines = (study.out / "report.md").read_text().splitlines()
    table = [line.split(" | ") for line in lines if line.startswith("| ")]
    assert len(table[0]) == 13
    for row in study.rows:
        name = f"| **{row.label}**" if row.on_front else f"| {row.label}"
        cells = next(cells for cells in table if cells[0] == name)
        assert cells[1] == f"{row.mean:.2f} ± {row.std:.2f}"
    assert "![Accuracy and latency](accuracy_latency.svg)" in lines


def test_a_subset_is_stated(recipe, fake, tmp_path):
    part = replace(recipe, data=replace(recipe.data, train_count=100))
    run_study(part, tmp_path, steps=fake, gates=["se"], seeds=2, progress=False)
    for name in ("report.md", "report.html"):
        assert "100 images, a subset with equal shares" in (tmp_path / name).read_text()


def test_gate_options_and_start_are_stated(recipe, fake, tmp_path):
    chosen = StudySpec(gates=("se", "eca"), seeds=2, options={"se": {"reduction": 4}})
    run_study(replace(recipe, study=chosen), tmp_path, steps=fake, progress=False)
    for name in ("report.md", "report.html"):
        text = (tmp_path / name).read_text()
        assert "se: reduction=4" in text and "their papers say" in text


def test_no_name_can_write_into_the_page(recipe, fake, tmp_path):
    """A path pattern is the caller's text; so is the name of a weights file."""
    card = Card(model="resnet8", options={"num_classes": 10})
    file = tmp_path / '"><img src=x onerror=alert(1)>.safetensors'
    plain = tmp_path / "plain.safetensors"
    for path in (file, plain):
        save_network(path, build_network(card).state_dict(), card)
    result = run_study(
        recipe,
        tmp_path / "study",
        steps=fake,
        gates=["se"],
        sites=[EVIL, "plain|pipe"],
        models=[str(plain), str(file)],
        seeds=2,
        progress=False,
    )
    page = page_of(result)
    assert not any("onerror" in attrs for _, attrs in page.tags)
    assert not [tag for tag, _ in page.tags if tag == "img"]
    # the library; figures of both, differences, ratios, and top-1 and loss of two backbones; ours
    kinds = [attrs.get("type") for tag, attrs in page.tags if tag == "script"]
    assert kinds == [None, *["application/json"] * 7, None]
    running = [s for kind, s in zip(kinds, page.scripts, strict=True) if kind is None]
    assert not any("alert('x')" in script for script in running)
    assert any(EVIL in json.dumps(spec) for spec in page.specs)
    assert any(EVIL in text for text in page.text)
    assert any(file.name in text for text in page.text)
    markdown = (tmp_path / "study" / "report.md").read_text()
    assert EVIL not in markdown and "plain\\|pipe" in markdown


def test_one_seed_and_no_latency_still_give_a_page(recipe, fake, tmp_path):
    steps = replace(fake, measure=lambda *_: replace(fake.measure(*_), costs={}, conditions={}))
    result = run_study(recipe, tmp_path, steps=steps, gates=["se"], seeds=1, progress=False)
    assert "No answer" in result.answer
    assert "Accuracy and latency" not in page_of(result).text
    assert not (tmp_path / "accuracy_latency.svg").exists()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("seln (+0.4 [0.1, 0.7])", "seln (+0.4 [0.1, 0.7])"),
        ("ela_b", "ela_b"),
        ("_a_ *b* `c`", r"\_a\_ \*b\* \`c\`"),
        ("[x](http://y)", r"[x]\(http://y)"),
        ("a|b\n<c>", r"a\|b \<c\>"),
        ("# no title", r"\# no title"),
    ],
)
def test_markdown_shows_text_as_it_is(text, shown):
    assert cell(text) == shown
