"""Every kernel compiles for GPUs that need not be here, and fits them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
KERNELS = 16  # those that are launched, not the functions they share
TARGETS = {
    "sm_80": ("cuda", "80", "32"),
    "sm_90": ("cuda", "90", "32"),
    "sm_100": ("cuda", "100", "32"),
    "gfx942": ("hip", "gfx942", "64"),
}
REGISTERS = {"cuda": 255, "hip": 512}  # of a thread
SHARED = {"sm_80": 163 << 10, "sm_90": 227 << 10, "sm_100": 227 << 10, "gfx942": 64 << 10}
"""Of a program: table "Technical Specifications per Compute Capability" of CUDA's programming
guide; the local data share of CDNA 3's instruction set architecture."""


SPILLED = {
    "ean._forward": 32,
    "ean._backward": 256,
    "cosine_distance._lengths": 64,
    "selnext_recompute._recompute": 10240,
}
"""Bytes of a thread that NVIDIA's compiler keeps in memory, at most: whole planes in one tile, and
two products whose sums are held side by side."""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TARGETS)
def test_every_kernel_compiles_and_fits(name, tmp_path):
    script = Path(__file__).with_name("compile_without_gpu.py")
    ran = subprocess.run(
        [sys.executable, str(script), *TARGETS[name]],
        env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    found = json.loads(ran.stdout)
    assert len(found) == KERNELS
    for kernel, used in found.items():
        room = SPILLED.get(kernel, 0) if name.startswith("sm") else 0
        assert 0 < used["registers"] <= REGISTERS[TARGETS[name][0]], kernel
        assert used["spilled"] <= room, kernel
        assert used["shared"] <= SHARED[name], kernel
