"""The kernels' own tests, under Triton's interpreter: on a CPU, in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

triton = pytest.importorskip("triton")


def version(module):
    return tuple(map(int, module.__version__.split(".")[:2]))


too_old = version(triton) < (3, 7) and version(np) >= (2, 4)


@pytest.mark.skipif(too_old, reason="Triton 3.6 does not interpret loops with NumPy 2.4")
@pytest.mark.timeout(900)  # half a minute of work, in one test for all of it
def test_kernels_under_the_interpreter():
    command = [sys.executable, "-m", "pytest", str(Path(__file__).parent), "-x"]
    ran = subprocess.run(
        [*command, "-p", "no:cacheprovider"],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]  # 5: none was found
