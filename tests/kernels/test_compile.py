"""Every kernel compiles for GPUs that need not be here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
KERNELS = 16  # those that are launched, not the functions they share


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("capability", [80, 90])
def test_every_kernel_compiles(capability, tmp_path):
    script = Path(__file__).with_name("compile_without_gpu.py")
    ran = subprocess.run(
        [sys.executable, str(script), str(capability)],
        env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert int(ran.stdout) == KERNELS
