"""The pages made from the code are up to date, and the worked example of a new gate runs."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import torch

from convgate.gates import GATES, create_gate, list_gates

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
