"""On a machine with a GPU: the kernels under Triton's interpreter, in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


@pytest.mark.skipif(INTERPRETED, reason="without a GPU every kernel is interpreted in this process")
@pytest.mark.timeout(900)  # half a minute of work, in one test for all of it
def test_kernels_under_the_interpreter():
    command = [sys.executable, "-m", "pytest", str(Path(__file__).parent), "-x", "-k", "cpu"]
    ran = subprocess.run(
        [*command, "-p", "no:cacheprovider"],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]  # 5: none was found
