"""Nothing is written that was not run: at other batches and sizes, against the eager network."""

from collections.abc import Iterator
from math import isnan
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.utils._python_dispatch import TorchDispatchMode

from convgate.deploy.onnx import Forward
from convgate.errors import InputError
from convgate.measure.operators import tensors
from convgate.measure.parity import TOLERANCE, relative_difference

LARGEST_HALF = torch.finfo(torch.float16).max  # 65504


def inputs_to_compare(images: Tensor, *, fixed_size: bool) -> Iterator[Tensor]:
    """Yield two batch sizes and, where the size may change, images of two other sizes.

    Shape: images (N, C, H, W) with N >= 3.
    """
    yield images[:1]
    yield images[:3]
    if not fixed_size:  # steps of 32 pixels, the stride of most networks
        height, width = images.shape[2:]
        yield interpolate(images[:1], (height + 32, width + 64))
        yield interpolate(images[:2], (height + 64, width))


def verify(
    name: str, run: Forward, model: nn.Module, images: Iterator[Tensor], dtype: torch.dtype
) -> float:
    """Compare an exported network with the eager one; return the largest relative difference."""
    worst = 0.0
    for x in images:
        shape = " x ".join(map(str, x.shape))
        with torch.inference_mode():
            expected = model(x)
        try:
            got = run(x)
        except Exception as error:  # a runtime raises whatever its own language made of it
            reason = operator_of(error)
            raise InputError(
                f"{name} cannot run images of {shape} ({reason}); try --fixed-size"
            ) from error
        same = got.shape == expected.shape
        difference = relative_difference(got, expected) if same else float("nan")
        if not difference <= TOLERANCE[dtype]:  # also catches nan
            raise InputError(
                f"{name} differs from the eager network by {difference:.2g} of its norm at images "
                f"of {shape}, more than {TOLERANCE[dtype]:g}; nothing is written"
            )
        worst = max(worst, difference)
    return worst


def operator_of(error: Exception) -> str:
    """Return the part of a runtime's error that names the operator, or its beginning."""
    text = " ".join(str(error).split())
    for start in ("while running ", "Conversion failed for ", "[CPU] "):
        if start in text:
            return text.partition(start)[2][:80].partition(". ")[0].partition(" with a message")[0]
    return text[:120]


def check_size(model: nn.Module, x: Tensor) -> None:
    """Ask that the network takes such images at all."""
    try:
        with torch.inference_mode():
            model(x)
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        size = " x ".join(map(str, x.shape[1:]))
        raise InputError(
            f"{type(model).__name__} does not take images of {size} ({reason}); give its own size"
        ) from error


def check_deterministic(name: str, model: nn.Module, x: Tensor) -> None:
    """Ask that the network gives the same output twice, for else nothing can be compared.

    Numbers that are drawn count even where the output does not show them.
    """
    before = torch.get_rng_state()
    with torch.inference_mode():
        if not torch.equal(model(x), model(x)) or not torch.equal(before, torch.get_rng_state()):
            raise InputError(
                f"{name} draws random numbers at every pass (operator aten.rand), so an export "
                "cannot be compared with it"
            )


def check_range(name: str, model: nn.Module, images: Tensor) -> float:
    """Return the largest magnitude of any number inside the network on ``images``."""
    with torch.inference_mode(), _Largest() as seen:
        model(images)
    if not seen.value < LARGEST_HALF:  # also catches nan
        raise InputError(
            f"{name}: {seen.operator} reaches {seen.value:.3g}, more than the {LARGEST_HALF:.0f} "
            "that float16 holds; use float32 or bfloat16"
        )
    return seen.value


class _Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Note the largest magnitude that any operator gives, and which one it was."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.value, self.operator = 0.0, "nothing"

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for y in tensors(found):
            if y.is_floating_point() and y.numel():
                largest = float(y.abs().max())
                if isnan(largest) or largest > self.value:  # nan, once seen, stays
                    self.value, self.operator = largest, str(func)
        return found
