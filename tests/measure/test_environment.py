"""Every condition that the protocol asks for is there."""

import importlib.util
import json
import subprocess
import sys

import pytest
import torch

from convgate.measure import environment
from convgate.measure.environment import git_commit

ASKED_FOR = {
    "device",
    "driver",
    "cuda",
    "cudnn",
    "onednn",
    "torch",
    "engine",
    "threads",
    "cpu",
    "git_commit",
    "command",
}


def test_keys_and_values():
    found = environment()
    assert found.keys() >= ASKED_FOR
    assert all(isinstance(value, str) and value for value in found.values())
    assert found["torch"] == torch.__version__
    assert found["threads"] == str(torch.get_num_threads())
    assert found["driver"] == "none"  # of a GPU, and this is the CPU
    assert json.loads(json.dumps(found)) == found


def test_commit_of_a_folder(tmp_path):
    assert git_commit(tmp_path) == "none"

    def git(*words):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        done = subprocess.run(
            ["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "first")
    head = git("rev-parse", "HEAD")
    assert git_commit(tmp_path) == head[:12]
    (tmp_path / "file").write_text("two")
    assert git_commit(tmp_path) == head[:12] + "+"


@pytest.mark.parametrize(
    ("module", "command"),
    [("json.tool", "python -m json.tool a 'b c'"), (None, "run.py a 'b c'")],
)
def test_the_command_can_be_typed_again(module, command, monkeypatch):
    spec = importlib.util.find_spec(module) if module else None
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec)
    monkeypatch.setattr(sys, "argv", ["/somewhere/run.py", "a", "b c"])
    assert environment()["command"] == command
