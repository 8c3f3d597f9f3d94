"""The ONNX column of docs/coverage.md is filled cell by cell, and a stopped run goes on."""

from pathlib import Path

import pytest
from benchmarks import coverage_onnx
from benchmarks.coverage import HEAD, Row, cells, table

ROWS = [
    Row("done", "a", maps=1, sites={"block_end": 1}),
    Row("open", "b", maps=1, sites={"block_end": 1}, folded="1 of 1"),
    Row("refused", "c", refused="no site"),
    Row("dense", "d", maps=1, sites={"block_end": 1}, folded="not tried"),
    Row("last", "e", maps=1, sites={"block_end": 1}),
]


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A page whose first row is filled, and the names of networks that are run."""
    path, ran = tmp_path / "coverage.md", []
    text = f"# Title\n\n{table(ROWS).markdown()}\n"
    path.write_text(text.replace(f" | {coverage_onnx.NOT_RUN} | ", " | yes | ", 1))

    def in_process(name, limit):
        ran.append(name)
        if name == "e":
            raise KeyboardInterrupt
        return "differs | by 2"

    monkeypatch.setattr(coverage_onnx, "in_process", in_process)
    return path, ran


def test_a_stopped_run_goes_on_where_it_was(page):
    path, ran = page
    before = path.read_text().splitlines()
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            coverage_onnx.fill(path, [], 10)
    assert ran == ["b", "e", "e"]
    after = path.read_text().splitlines()
    changed = [line for line, old in zip(after, before, strict=True) if line != old]
    assert [line.split(" | ")[0] for line in changed] == ["| open", "| dense"]
    assert "| 1 of 1 | differs \\| by 2 | served |" in changed[0]
    assert "| not tried | not tried | served |" in changed[1]
    assert len(cells(ROWS[0])) == len(HEAD) and HEAD[coverage_onnx.COLUMN] == "ONNX"


def test_a_family_has_so_much_processor_time(monkeypatch):
    monkeypatch.syspath_prepend(Path(coverage_onnx.__file__).parents[1])  # for its own process
    assert coverage_onnx.in_process("test_byobnet", 1) == "over 1 s"
