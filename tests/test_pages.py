"""Tutorials and how-tos do what they say: their commands and lines of Python run as written there.

A block of `bash` or `python` runs in the order of the page, in one folder with a few pictures
(below); one of `toml` or `cpp` whose first line names a file is written to it. A block is left
out only under a line `<!-- excerpt: why -->`. Every command of every page, run or not, has to be
one that the command line knows.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.main import get_command

from convgate.cli import app
from convgate.gates import GATES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"(<!-- excerpt: .+ -->\n)?^```(\w*)\n(.*?)^```$", re.M | re.S)
RUN = ("bash", "python")
SHOWN = ("text", "toml", "json", "cpp")  # what a file holds, or what a command said
NAMED = re.compile(r"(?:#|//) (\w+\.(?:toml|cpp|hpp))\n")
PAGES = sorted(
    page for kind in ("tutorials", "how_to", "explanations") for page in DOCS.glob(f"{kind}/*.md")
)
COLOURS = {"cat": (200, 40, 40), "dog": (40, 200, 40)}


def blocks(page):
    """The blocks of a page: whether it is an excerpt, its language, its text."""
    return [(bool(m[1]), m[2], m[3]) for m in BLOCK.finditer(page.read_text())]


@pytest.fixture
def place(tmp_path):
    """A folder with pictures of two classes; Python and the command line are on its path."""
    noise = torch.Generator().manual_seed(0)
    for split, count in (("train", 10), ("val", 4)):
        for name, colour in COLOURS.items():
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = torch.randint(-30, 30, (64, 72, 3), generator=noise) + torch.tensor(colour)
                picture = Image.fromarray(pixels.clamp(0, 255).byte().numpy())
                picture.save(folder / f"{number}.jpg")
    picture.resize((20, 24)).save(tmp_path / "photo.png")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, options in (("python", ""), ("convgate", "-m convgate ")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {options}"$@"\n')
        program.chmod(0o755)
    return tmp_path


def execute(folder, language, text):
    """Run a block, or write the file that it holds; return what it printed."""
    if language in SHOWN and (named := NAMED.match(text)):
        (folder / named[1]).write_text(text)
    if language not in RUN:
        return ""
    command = ["bash", "-euc", text] if language == "bash" else [sys.executable, "-c", text]
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    ran = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=os.environ | {"PATH": path}
    )
    assert ran.returncode == 0, f"{text}\n{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}"
    return ran.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_runs(page, place):
    for excerpt, language, text in blocks(page):
        if not excerpt:
            execute(place, language, text)


@pytest.fixture
def answers(place):
    """What convgate, and then every program of the page without convgate, say of one picture."""
    page = DOCS / "how_to/onnxruntime.md"
    taken = [block for block in blocks(page) if not block[0] or has_headers(place)]
    said = [execute(place, *block[1:]) for block in taken]
    table = execute(place, "bash", "convgate predict photo.png --model net.onnx")
    name, share = next(line for line in table.splitlines() if "photo.png" in line).split()[1:]
    lines = [line for text in said for line in text.splitlines() if line.endswith(" %")]
    return f"{name} {share[:-1]} %", [line for line in lines if len(line.split()) == 3]


def has_headers(folder):
    """Whether the compiler finds ONNX Runtime's headers, which no Python package brings."""
    (folder / "probe.cpp").write_text("#include <onnxruntime_cxx_api.h>\n")
    command = ["g++", "-fsyntax-only", "-I/usr/include/onnxruntime", "probe.cpp"]
    return subprocess.run(command, cwd=folder, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_programs_without_convgate_say_what_it_says(answers, place):
    """Python with ONNX Runtime, C++ with OpenVINO, and C++ with ONNX Runtime where it compiles."""
    expected, said = answers
    assert said == [expected] * (2 + has_headers(place))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_block_is_run_or_says_why_not(page):
    for excerpt, language, text in blocks(page):
        assert excerpt or language in (*RUN, *SHOWN), f"{page}: a block of {language!r}"
        assert excerpt or language != "cpp" or NAMED.match(text), f"{page}: a nameless {language}"


def commands():
    """Every command of convgate in a block of any page, with the page."""
    pages = [ROOT / "README.md", *DOCS.rglob("*.md")]
    for page in pages:
        for _, language, text in blocks(page):
            if language in ("", "bash", "console"):
                for line in text.replace("\\\n", " ").splitlines():
                    if found := re.match(r"(?:\$ |exec |.* -m )?convgate ([a-z].*)", line.strip()):
                        yield page.relative_to(ROOT), found[1].partition(" #")[0].strip("& ")


@pytest.mark.parametrize("page,line", list(commands()), ids=lambda value: str(value)[:60])
def test_a_command_on_a_page_is_one_of_the_command_line(page, line, monkeypatch):
    """Its verb and its options exist; nothing is run, and no gate of another module is imported."""
    monkeypatch.setattr(type(GATES), "load", lambda self, name: None)
    words = shlex.split(re.split(r" [|>] ", line)[0])
    if "..." in words:
        return
    verb = get_command(app)
    while getattr(verb, "commands", None):
        assert words and words[0] in verb.commands, f"{page}: {line}"
        verb = verb.commands[words.pop(0)]
    verb.make_context(line, words)  # raises for an unknown option or a missing argument
