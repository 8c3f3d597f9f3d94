"""Candidates that claim to be the same function are compared before a second is spent on timing."""

from typing import Any

import torch
from torch import Tensor

from convgate.errors import InputError
from convgate.measure.operators import tensors
from convgate.measure.settings import Model

# Largest ‖y - y₀‖ / ‖y₀‖ by what computes y: rounding that adds up over a deep net in another
# library's operators (compiled, ONNX Runtime, OpenVINO), far below what an error makes.
TOLERANCE = {
    torch.float64: 1e-10,
    torch.float32: 1e-4,
    torch.float16: 2e-2,
    torch.bfloat16: 8e-2,
    torch.int8: 0.5,  # rounds on purpose; an unrelated output differs by about 1.4
}
# A fold runs in the same library and only reorders what it computes, so where rounding is fine
# enough to tell, its limit is one order above what deep nets show.
FOLD_TOLERANCE = TOLERANCE | {torch.float64: 1e-12, torch.float32: 1e-5}


def check_parity(
    name: str, candidate: Model, reference: Model, x: Tensor, *, dtype: torch.dtype | None = None
) -> float:
    """Return the largest relative difference between the outputs of two models."""
    with torch.inference_mode():
        got, expected = _outputs(candidate, x), _outputs(reference, x)
    shapes = [tuple(y.shape) for y in got], [tuple(y.shape) for y in expected]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"{name}: its outputs have shapes {shapes[0]} where the reference gives {shapes[1]}; "
            "a wrong model is not timed"
        )
    differences = [relative_difference(a, b) for a, b in zip(got, expected, strict=True)]
    for difference, y in zip(differences, expected, strict=True):
        tolerance = TOLERANCE.get(dtype or y.dtype, 0.0)
        if not difference <= tolerance:  # also catches nan
            raise InputError(
                f"{name}: its output differs from the reference by {difference:.2g} of its norm, "
                f"more than {tolerance:g}; a wrong model is not timed"
            )
    return max(differences, default=0.0)


def _outputs(model: Model, x: Tensor) -> list[Tensor]:
    # A compiled model may hand out the same memory again, so its outputs are copied.
    found: Any = model(x)
    return [y.clone() for y in tensors(found)]


def relative_difference(got: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference over that of ``expected``, computed in float64."""
    wide = [y.double() for y in (got, expected)]
    scale = wide[1].norm().clamp(min=torch.finfo(torch.float64).tiny)
    return float((wide[0] - wide[1]).norm() / scale)
