"""Kernels against their references: on a GPU, or on a CPU by Triton's interpreter.

Triton decides when a kernel is defined whether it is interpreted. On a machine with a GPU it is
not, and the tests of the CPU leave this process: `test_interpreter.py` starts theirs.
"""

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from convgate import kernels
from convgate.measure.settings import rounding_to_tf32

HERE = Path(__file__).parent
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def pytest_collection_modifyitems(config, items):
    if INTERPRETED and can_interpret():
        return
    away = [item for item in items if HERE in item.path.parents and is_interpreted(item)]
    config.hook.pytest_deselected(items=away)
    items[:] = [item for item in items if item not in away]


def is_interpreted(item):
    return hasattr(item, "callspec") and item.callspec.params.get("device") == "cpu"


def can_interpret():
    """Tell whether Triton is there; 3.6 does not interpret loops with NumPy 2.4."""
    if not find_spec("triton"):
        return False
    import triton

    triton_version, numpy_version = (
        tuple(map(int, module.__version__.split(".")[:2])) for module in (triton, np)
    )
    return triton_version >= (3, 7) or numpy_version < (2, 4)


@pytest.fixture(autouse=True)
def _same_numbers():
    torch.manual_seed(0)
    with rounding_to_tf32(False):  # which a GPU's convolutions do by default
        yield


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request):
    """Where the fused path is tried; inside the test every operator takes it."""
    with kernels.use("fused"):
        yield request.param


LAYOUTS = "contiguous", "channels_last", "strided"
ODD = 2, 3, 5, 7
OTHERS = [(1, 1, 1, 1), (2, 130, 3, 3), (2, 3, 50, 50)]  # one number; more than a block each way
CASES = [(ODD, dtype, layout) for dtype in TOLERANCE for layout in LAYOUTS]
CASES += [(size, torch.float32, layout) for size in OTHERS for layout in LAYOUTS[:2]]


@pytest.fixture(params=CASES, ids=str)
def case(request, device):
    """Size, dtype and memory format: the size, and what makes a map of it."""
    size, dtype, layout = request.param

    def make(*other):
        """Return a random map of the case's size, or of another; strided: every other column."""
        n, c, h, w = other or size
        x = torch.randn(n, c, h, 2 * w if layout == "strided" else w, device=device).to(dtype)
        if layout == "strided":
            return x[..., ::2]
        return x.to(memory_format=torch.channels_last) if layout == "channels_last" else x

    return size, make


def run(function, arguments):
    """Return the outputs, and the gradients of all tensors along the same random directions."""
    leaves = [a.detach().requires_grad_() for a in arguments if torch.is_tensor(a)]
    points = iter(leaves)
    outputs = function(*[next(points) if torch.is_tensor(a) else a for a in arguments])
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    generator = torch.Generator().manual_seed(1)
    total = 0.0
    for y in outputs:
        if y.is_floating_point():
            direction = torch.randn(y.shape, generator=generator, dtype=torch.float64)
            total = total + (y.double() * direction.to(y.device)).sum()
    return outputs, torch.autograd.grad(total, leaves)


@pytest.fixture
def agree():
    """Compare a fused operator with its reference: every output and every gradient.

    The reference runs in float64 on the same rounded numbers. A gradient may be off by the
    dtype's tolerance of its largest number, because it is a sum of terms of that size.
    """

    def check(function, reference, *arguments, factor=1):
        dtype = arguments[0].dtype
        exact = [a.double() if torch.is_tensor(a) else a for a in arguments]
        outputs, gradients = run(function, arguments)
        wanted, wanted_gradients = run(reference, exact)
        with torch.no_grad():
            like = reference(*arguments)
        like = like if isinstance(like, tuple) else (like,)
        tolerance = factor * TOLERANCE[dtype]
        for y, exact_y, plain in zip(outputs, wanted, like, strict=True):
            assert y.dtype == plain.dtype
            assert y.shape == plain.shape
            torch.testing.assert_close(y.to(exact_y.dtype), exact_y, rtol=tolerance, atol=tolerance)
        for i, (g, exact_g) in enumerate(zip(gradients, wanted_gradients, strict=True)):
            scale = max(exact_g.abs().max().item(), 1.0)
            torch.testing.assert_close(
                g.double(),
                exact_g,
                rtol=tolerance,
                atol=tolerance * scale,
                msg=lambda m, i=i: f"gradient of argument {i}: {m}",
            )

    return check
