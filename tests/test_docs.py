"""The pages made from the code are up to date, and the worked example of a new gate runs."""

import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from convgate.gates import GATES, create_gate, list_gates
from convgate.papers import list_tables, run_table

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_are_up_to_date(generate, capsys):
    code = generate.main(["--check"])
    assert code == 0, capsys.readouterr().out + "run python docs/generate.py"


def test_a_changed_missing_or_left_over_page_is_stale(generate, tmp_path, capsys):
    generate.main([], tmp_path)
    assert generate.main(["--check"], tmp_path) == 0
    (tmp_path / "gates/se.md").write_text("old")
    (tmp_path / "gates/eca.md").unlink()
    (tmp_path / "gates/gone.md").write_text("left over")
    capsys.readouterr()
    assert generate.main(["--check"], tmp_path) == 1
    lines = capsys.readouterr().out.splitlines()
    assert {Path(line.removeprefix("stale: ")).name for line in lines} == {
        "se.md",
        "eca.md",
        "gone.md",
    }
    generate.main([], tmp_path)
    assert generate.main(["--check"], tmp_path) == 0
    assert not (tmp_path / "gates/gone.md").exists()


def test_the_layout_draws_the_layers_and_names_files_that_are_there():
    """Every package or module of `src` has its line, in the order of the import contract."""
    page = (DOCS / "layout.md").read_text()
    drawn = re.findall(r"^\| (\w+) ", page.partition("## ")[0], re.M)
    source = DOCS.parent / "src/convgate"
    there = {p.stem for p in source.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert {*drawn, "__init__", "__main__"} == there
    order = ["cli", "studies", "train", "networks", "gates", "kernels", "storage", "errors"]
    assert [name for name in drawn if name in order] == order
    for named in re.findall(r"`([\w/]+/|[\w/]+\.py)`", page):
        assert (source / named).exists(), named


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/glossary.md", "docs/layout.md"])
def test_links_lead_somewhere(page):
    path = DOCS.parent / page
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text())
    assert links
    for link in links:
        assert (path.parent / link).exists(), link


@pytest.mark.parametrize("name", list_gates())
def test_a_gate_is_in_the_index_and_has_its_options_on_a_page(name):
    stem = GATES.factory(name).__module__.rpartition(".")[2]
    assert f"[`{name}`]({stem}.md)" in (DOCS / "gates/index.md").read_text()
    page = (DOCS / f"gates/{stem}.md").read_text()
    for option in GATES.options(name):
        assert f"| `{option}` |" in page


@pytest.mark.parametrize("name", ["seln", "srm", "ela_s"])
def test_printed_parameter_counts(name):
    """SELN: two layers with biases and a norm; SRM: 4 C; ELA-S: 5 x 8 C and the norm's 2 C."""
    hand = {"seln": 2 * 64 * 4 + 4 + 64 + 2 * 64, "srm": 4 * 64, "ela_s": 5 * 8 * 64 + 2 * 64}
    page = (DOCS / "gates/index.md").read_text()
    line = next(line for line in page.splitlines() if line.startswith(f"| [`{name}`]"))
    assert f"| {hand[name]:,} |" in line


@pytest.mark.parametrize("name", ["selnext.7", "selnext.9"])
def test_the_page_about_the_tables_says_what_the_runner_finds(name):
    cells = [cell for row in run_table(name).rows for cell in row.cells]
    judged = [cell for cell in cells if cell.matches is not None]
    page = (DOCS / "papers.md").read_text()
    section = page.partition(f"## {name}\n")[2].partition("\n## ")[0]
    same = sum(cell.matches for cell in judged)
    assert f"**Reproduced**: {same} of {len(judged)} printed cells" in section
    for cell in judged:
        assert cell.matches or cell.reason in section


def test_the_page_about_the_tables_has_them_all():
    page = (DOCS / "papers.md").read_text()
    for name in list_tables():
        assert f"## {name}\n" in page and f"| [{name}](#{name.replace('.', '')}) |" in page


def test_the_readme_has_the_tables_as_they_were_printed(generate, tmp_path):
    """Between the marks stand the rows of the files that they name, and nothing else changes."""
    docs = tmp_path / "docs"
    (docs / "results").mkdir(parents=True)
    printed = ["## title", "", "| a |", "| --- |", "| 1 |", "", "- source: s", "- latency: fast"]
    (docs / "results/t.md").write_text("\n".join(printed) + "\n")
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- table t.md -->\nold\n<!-- end -->\nafter\n")
    assert generate.main(["--check"], docs) == 1
    generate.main([], docs)
    assert readme.read_text() == (
        "before\n<!-- table t.md -->\n\n| a |\n| --- |\n| 1 |\n\n- latency: fast\n\n"
        "<!-- end -->\nafter\n"
    )
    assert generate.main(["--check"], docs) == 0


def test_the_worked_example_of_a_new_gate(monkeypatch):
    """The page's class and its naive equation agree; the registry forgets both afterwards."""
    monkeypatch.setattr(GATES, "_entries", dict(GATES._entries))
    blocks = re.findall(r"```python\n(.+?)```", (DOCS / "adding_a_gate.md").read_text(), re.DOTALL)
    source, test, _ = blocks
    example = importlib.util.module_from_spec(importlib.util.spec_from_loader("ge", None))
    monkeypatch.setitem(sys.modules, "ge", example)
    exec(source, vars(example))
    exec(test, vars(example))
    x = torch.randn(2, 6, 5, 4, dtype=torch.float64)
    gate = create_gate("ge", 6)
    torch.testing.assert_close(gate(x), example.expected(gate, x))


@pytest.mark.parametrize("page", ["docs/index.md", "README.md"])
def test_a_page_names_every_extra_of_a_user(page):
    root = DOCS.parent
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"]) - {"dev", "docs"}
    assert extras <= set(re.findall(r"`(\w+)`", (root / page).read_text()))
