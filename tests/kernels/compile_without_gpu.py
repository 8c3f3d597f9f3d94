"""Compile every kernel for a GPU that is not there: `compile_without_gpu.py cuda 90 32`.

The interpreter takes what the compiler refuses, such as a name that changes its shape in a loop.
Every launch becomes a compilation, down to machine code; nothing runs, so outputs hold no values.
Printed, as JSON: for each kernel the most registers of a thread, bytes spilled by a thread, and
bytes of shared memory of a program, over all launches.
"""

import json
import re
import subprocess
import sys
import tempfile
import warnings
from collections import defaultdict
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.autotuner import Autotuner
from triton.runtime.jit import JITFunction

BACKEND, ARCHITECTURE, WARP = sys.argv[1:]
BUILT = defaultdict(lambda: {"registers": 0, "spilled": 0, "shared": 0})
TOOL = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


class Driver:
    """Names the target; there is nothing to launch on."""

    def get_current_target(self):
        name = int(ARCHITECTURE) if BACKEND == "cuda" else ARCHITECTURE
        return GPUTarget(BACKEND, name, int(WARP))

    def get_current_device(self):
        return 0

    def get_current_stream(self, device=0):
        return 0


def compile_only(kernel, grid):
    def compile_(*arguments, **options):
        built = kernel.run(*arguments, grid=(1,), warmup=True, **options)
        used = nvidia(built.asm["cubin"]) if BACKEND == "cuda" else amd(built.asm["amdgcn"])
        used["shared"] = built.metadata.shared
        most = BUILT[f"{kernel.__module__.rpartition('.')[2]}.{kernel.__name__}"]
        for key, value in used.items():
            most[key] = max(most[key], value)

    return compile_


def nvidia(code):
    """Read what NVIDIA's tool tells of machine code; a kernel of ours has no other stack."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        command = [str(TOOL), "--dump-resource-usage", file.name]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {"registers": number(r"REG:(\d+)", told), "spilled": number(r"STACK:(\d+)", told)}


def amd(text):
    """Read the metadata of AMD's assembler; a spilled register is 4 bytes of a thread."""
    spilled = number(r"\.vgpr_spill_count: +(\d+)", text)
    return {"registers": number(r"\.vgpr_count: +(\d+)", text), "spilled": 4 * spilled}


def number(pattern, text):
    return int(re.search(pattern, text)[1])


def compile_first(tuned, grid):
    def compile_(*arguments, **options):
        configuration = tuned.configs[0].all_kwargs()
        compile_only(tuned.fn, grid)(*arguments, **options, **configuration)

    return compile_


def main():
    triton.runtime.driver.set_active(Driver())
    JITFunction.__getitem__ = compile_only
    Autotuner.__getitem__ = compile_first
    from convgate.kernels.fused import (
        cosine_distance,
        ean,
        gelu_mean,
        scale_residual_act,
        selnext_block,
        selnext_recompute,
        strip_gate,
    )

    def back(*outputs):
        sum(y.float().sum() for y in outputs).backward()

    for dtype in (torch.float32, torch.bfloat16):
        for layout in (torch.contiguous_format, torch.channels_last):

            def make(*size, dtype=dtype, layout=layout):
                x = torch.zeros(size, dtype=dtype)
                x = x.contiguous(memory_format=layout) if len(size) == 4 else x
                return x.requires_grad_()

            for side in (14, 160):  # a plane that fits on chip, and one that does not
                x = make(2, 24, side, side)
                back(*gelu_mean.gelu_mean(x))
                for relu in (True, False):
                    s, r = make(2, 24, 1, 1), make(2, 24, side, side)
                    back(scale_residual_act.scale_residual_act(x, s, r, relu))
                affine = (make(24, dtype=torch.float32) for _ in range(2))
                back(ean.ean(x, *affine, 1e-5)[0])
                back(*strip_gate.strips(x))
                back(strip_gate.strip_gate(x, make(2, 24, side), make(2, 24, side)))
                back(cosine_distance.cosine(x)[0])
        x, k = torch.zeros(2, 14, 14, 96, dtype=dtype).requires_grad_(), 384
        back(*selnext_block.expand(x, make(k, 96), make(k)))
        hidden = torch.zeros(2, 14, 14, k, dtype=dtype).requires_grad_()
        ends = make(96, k), make(96), make(96), x
        back(selnext_block.project(hidden, make(2, k), *ends))
        with torch.no_grad():
            selnext_block.squeeze(x, make(k, 96), make(k))
            selnext_recompute.recompute(x, make(2, k), make(k, 96), make(k), *ends)
    print(json.dumps(BUILT))


if __name__ == "__main__":
    warnings.simplefilter("error")
    main()
