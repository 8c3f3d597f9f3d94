"""What the README promises runs as it is written there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_python_lines_run(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(blocks) == 2
    # no weights can be fetched here, and a smaller network says as much
    code = "\n".join(blocks).replace("pretrained=True", "pretrained=False")
    code = code.replace("resnet50", "resnet18")
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=290
    )
    assert ran.returncode == 0, ran.stderr
    assert "block_end" in ran.stdout and "base" in ran.stdout


@pytest.mark.slow
def test_the_demo_runs_and_ends_with_a_table_and_a_page(tmp_path):
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "convgate", "study", "digits/demo", "--out", str(out)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=290)
    assert ran.returncode == 0, ran.stderr
    for gate in ("none", "se", "eca", "ca", "ela_b", "ean", "seln"):
        assert re.search(rf"^{gate} +9\d\.\d\d", ran.stdout, re.M), ran.stdout
    assert (out / "report.html").stat().st_size > 500_000  # the charts' code is inside
