"""A place that takes no file: one sentence, exit code 2, and nothing half-written."""

import contextlib
import resource
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from convgate.cli import app
from convgate.models import create_model

SHORT = [f"schedule.{key}" for key in ("epochs=1", "warmup_epochs=0")]
TRAINING = ["digits/demo", *(w for s in (*SHORT, "data.train_count=20") for w in ("--set", s))]
WRITES = {
    "net.safetensors": ["insert", "resnet8", "--gate", "se"],
    "run": ["train", *TRAINING],
    "study": ["study", *TRAINING, "--gate", "se", "--seeds", "1"],
    "hub": ["export", "resnet8", "--format", "hub"],
    "net.onnx": ["export", "resnet8", "--format", "onnx", "--fixed-size"],
    "net.xml": ["export", "resnet8", "--format", "openvino", "--fixed-size"],
    "table.md": ["table", "ean.3", "--rows", "resnet50"],
    "ls.csv": ["table", "ls", "--format", "csv"],
}


def sentence(*words):
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 2, done.output
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("epoch ")]
    return line


@contextlib.contextmanager
def file_limit(size):
    """Let no file grow beyond ``size`` bytes, as `ulimit -f` does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that takes no file")
@pytest.mark.parametrize("name", ["net.safetensors", "run", "study", "hub", "net.onnx", "table.md"])
def test_a_folder_that_takes_no_file(name):
    out = f"/proc/{name}"  # not even the superuser can write there
    assert sentence(*WRITES[name], "--out", out).startswith(
        f"convgate: {out}: cannot be read or written ("
    )


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("net.safetensors", "net.safetensors"),
        ("run", "run/last.ckpt"),
        ("hub", "hub"),
        ("net.onnx", "net.onnx"),
        ("net.xml", "net.xml"),
    ],
)
def test_a_file_beyond_the_limit_names_what_was_asked_for(name, full, tmp_path):
    with file_limit(100_000):
        said = sentence(*WRITES[name], "--out", tmp_path / name)
    assert said == (
        f"convgate: the limit on a file's size is reached at {tmp_path / full}; raise it "
        "(ulimit -f) and run the same command again"
    )
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert not left - {"recipe.toml"} or (name == "run" and "last.ckpt" not in left)


def test_a_table_and_its_list_are_written_whole_or_not_at_all(tmp_path):
    for name in ("table.md", "ls.csv"):
        (tmp_path / name).write_text("old")
        with file_limit(100):
            said = sentence(*WRITES[name], "--out", tmp_path / name, "--force")
        assert f"reached at {tmp_path / name}" in said
        assert (tmp_path / name).read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_picture_of_view(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (40, 40), (200, 30, 60)).save(tmp_path / "photos/red.png")
    torch.save(create_model("resnet8").state_dict(), tmp_path / "own.pth")
    words = ("view", "diversity", "--data", tmp_path / "photos", "--model", "resnet8")
    words += ("--weights", tmp_path / "own.pth", "--out", tmp_path / "d.svg")
    with file_limit(1000):
        assert f"reached at {tmp_path / 'd.svg'}" in sentence(*words)
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "own.pth"}


def test_the_storage_of_a_study(tmp_path):
    out = tmp_path / "study"
    with file_limit(20_000):
        said = sentence(*WRITES["study"], "--out", out)
    assert said.startswith(f"convgate: {out / 'study.db'}: cannot be read or written (")
    assert "another folder" not in said
