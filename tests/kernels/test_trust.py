"""A kernel that nobody has tried on a device is tried there before it is taken."""

import logging
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

from convgate.kernels import path, trust
from convgate.kernels.trust import CASES, TOLERANCE, disagreement, trusts

ean = import_module("convgate.kernels.ean")


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    monkeypatch.setattr(trust, "_known", {})


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("stem", CASES)
def test_a_right_kernel_agrees(device, stem, dtype):
    assert disagreement(stem, device, dtype) <= TOLERANCE[dtype]
    assert trusts(stem, device, dtype)


def test_every_operator_has_a_case():
    sources = Path(path.__file__).parent.glob("*.py")
    asked = [
        stem
        for source in sources
        for words in re.findall(r"if takes_fused\(\w+, (.*?)\)", source.read_text())
        for stem in words.split(", ")
    ]
    assert sorted(asked) == sorted(f'"{stem}"' for stem in CASES)


def broken(monkeypatch, function):
    """Let EAN's operator compute something else where the fused path is chosen."""
    real = ean.ean

    def operator(x, slope, shift, eps):
        return function(real, x, slope, shift, eps) if path._chosen == "fused" else None

    monkeypatch.setattr(ean, "ean", operator)


def slightly_off(real, x, slope, shift, eps):
    return ean.reference(x, slope, shift, eps) * 1.01


def wrong_gradient(real, x, slope, shift, eps):
    return ean.reference(x, slope.detach() + 0 * slope, shift, eps)


def does_not_compile(real, x, slope, shift, eps):
    raise RuntimeError("ptxas: no such\narchitecture")


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (slightly_off, "differ from their reference by 2.0e-02 of its norm"),  # 1.01^2 - 1
        (wrong_gradient, "differ from their reference by 1.0e+00 of its norm"),
        (does_not_compile, "do not run (ptxas: no such architecture)"),
    ],
)
def test_a_wrong_kernel_is_left_out_with_one_warning(monkeypatch, caplog, function, said):
    broken(monkeypatch, function)
    with caplog.at_level(logging.WARNING, "convgate.kernels"):
        assert not trusts("ean", "cpu", torch.float32)
        assert not trusts("ean", "cpu", torch.float32)
    (record,) = caplog.records
    assert record.message == (
        f"the fused kernels of ean {said} on cpu in torch.float32: plain torch runs instead"
    )


def test_a_compiled_graph_knows_the_answer(monkeypatch):
    monkeypatch.setattr(trust, "_examine", lambda *key: "")
    torch.compiler.reset()

    def function(x):
        return x + 1 if trusts("ean", "cpu", torch.float32) else x

    compiled = torch.compile(function, fullgraph=True, backend="eager")
    assert compiled(torch.zeros(2)).tolist() == [1, 1]


def test_the_caller_s_random_numbers_and_modes_stay_apart(monkeypatch):
    monkeypatch.setattr(ean, "ean", lambda *arguments: ean.reference(*arguments))
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert trusts("ean", "cpu", torch.float32)
    assert torch.equal(torch.rand(2), wanted)


@pytest.mark.parametrize("word", ["reference", "refrence"])
def test_a_variable_chooses_for_the_process(word):
    code = "from convgate.kernels import path; print(path._chosen)"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "CONVGATE_KERNELS": word},
        capture_output=True,
        text=True,
        check=False,
    )
    if word == "reference":
        assert ran.stdout == "reference\n"
    else:
        assert "unknown path of the kernels 'refrence'; did you mean 'reference'" in ran.stderr
