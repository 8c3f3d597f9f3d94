"""Whether a fused kernel is to be trusted on a device: tried once in a process, on small maps.

Values and gradients are held against the plain reference in float64. A kernel that differs, or that
does not compile, is left out with one warning, and its reference runs. Operators are named here and
not imported: they ask this file about themselves.
"""

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from threading import Lock, Thread

import torch
from torch import Tensor

TOLERANCE = {torch.float32: 2e-3, torch.float16: 5e-3, torch.bfloat16: 3e-2}
"""Largest norm of a difference over that of the reference; TF32 has 10 bits, which is 1e-3."""
N, C, H, W, K = 2, 24, 9, 7, 32  # blocks of 16, and what is left over

Outputs = tuple[Tensor, ...]
_known: dict[tuple[str, str, torch.dtype], bool] = {}
_lock = Lock()


@dataclass(frozen=True)
class Case:
    """An operator in `convgate.kernels.<module>`: the sizes of its tensors, and what follows them.

    `pairs` tells where two tensors in a row are one argument.
    """

    module: str
    operator: str
    reference: str
    sizes: tuple[tuple[int, ...], ...]
    rest: tuple[object, ...] = ()
    pairs: tuple[int, ...] = ()
    has_gradient: bool = True

    def call(self, name: str, tensors: Sequence[Tensor]) -> Outputs:
        """Return the outputs that have a gradient or could have one."""
        arguments: list[object] = list(tensors)
        for index in self.pairs:
            arguments[index : index + 2] = [tuple(arguments[index : index + 2])]
        found = getattr(import_module(f"convgate.kernels.{self.module}"), name)(
            *arguments, *self.rest
        )
        outputs = found if isinstance(found, tuple) else (found,)
        return tuple(y for y in outputs if y.is_floating_point())


_X, _LINES = (N, C, H, W), (N, H, W, C)
_W1, _W2, _S = ((K, C), (K,)), ((C, K), (C,)), (N, K)
CASES = {
    "cosine_distance": Case("cosine_distance", "cosine_distance", "reference", (_X,)),
    "ean": Case("ean", "ean", "reference", (_X, (C,), (C,)), (1e-5,)),
    "gelu_mean": Case("gelu_mean", "gelu_mean", "reference", (_X,)),
    "scale_residual_act": Case(
        "scale_residual_act", "scale_residual_act", "reference", (_X, (N, C, 1, 1), _X), ("relu",)
    ),
    "selnext_expand": Case("selnext_block", "selnext_expand", "reference_expand", (_LINES, *_W1)),
    "selnext_project": Case(
        "selnext_block",
        "selnext_project",
        "reference_project",
        ((N, H, W, K), _S, *_W2, (C,), _LINES),
    ),
    "selnext_recompute": Case(
        "selnext_recompute",
        "selnext_recompute",
        "reference_recompute",
        (_LINES, _S, *_W1, *_W2, (C,), _LINES),
        pairs=(2, 3),
        has_gradient=False,
    ),
    "selnext_squeeze": Case(
        "selnext_recompute",
        "selnext_squeeze",
        "reference_squeeze",
        (_LINES, *_W1),
        has_gradient=False,
    ),
    "strip_gate": Case("strip_gate", "strip_gate", "reference", (_X, (N, C, H), (N, C, W))),
    "strips": Case("strip_gate", "strips", "reference_strips", (_X,)),
}
"""What `takes_fused` is asked about."""


def trusts(stem: str, device: str, dtype: torch.dtype) -> bool:
    """Tell whether the kernels of an operator agree with its reference on a device.

    The first question in a process compiles and runs them, in a thread of its own: what the
    caller has switched on (autocast, inference mode, a trace) does not reach them.
    """
    key = stem, device, dtype
    with _lock:
        if key not in _known:
            if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
                return False  # nothing may run beside a capture; the next question tries
            found: list[str] = []
            thread = Thread(target=lambda: found.append(_examine(*key)))
            thread.start()
            thread.join()
            _known[key] = not found[0]
            if found[0]:
                logging.getLogger("convgate.kernels").warning(found[0])
    return _known[key]


# torch.compiler.assume_constant_result sets this, and loads the compiler with Triton on the way.
trusts._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _examine(stem: str, device: str, dtype: torch.dtype) -> str:
    """Return what is wrong with an operator's kernels, in a sentence; nothing if they agree."""
    try:
        worst = disagreement(stem, device, dtype)
    except Exception as error:  # a compiler has many
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        why = f"do not run ({reason})"
    else:
        if worst <= TOLERANCE[dtype]:
            return ""
        why = f"differ from their reference by {worst:.1e} of its norm"
    return f"the fused kernels of {stem} {why} on {device} in {dtype}: plain torch runs instead"


def disagreement(stem: str, device: str, dtype: torch.dtype) -> float:
    """Return the largest difference of a value or gradient, as a share of the reference's norm."""
    case, worst = CASES[stem], 0.0
    for layout in (torch.contiguous_format, torch.channels_last):
        made = [_numbers(size, seed, layout) for seed, size in enumerate(case.sizes)]
        rounded = [tensor.to(device=device, dtype=dtype) for tensor in made]
        with _path("fused"):
            got = _outcome(case, case.operator, rounded)
        with _path("reference"):
            exact = _outcome(case, case.reference, [tensor.double() for tensor in rounded])
        for y, wanted in zip(got, exact, strict=True):
            worst = max(worst, _distance(y.double(), wanted))
    return worst


def _path(name: str) -> AbstractContextManager[None]:
    chosen: AbstractContextManager[None] = import_module("convgate.kernels.path").use(name)
    return chosen


def _distance(y: Tensor, wanted: Tensor) -> float:
    distance = ((y - wanted).norm() / wanted.norm().clamp(min=1e-30)).item()
    return distance if distance == distance else torch.inf


def _numbers(size: tuple[int, ...], seed: int, layout: torch.memory_format) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(size, generator=generator)
    return made.to(memory_format=layout) if size == (N, C, H, W) else made


def _outcome(case: Case, name: str, arguments: Sequence[Tensor]) -> Outputs:
    """Return the outputs, and the gradients of their sum of squares where there are some."""
    points = [tensor.detach().requires_grad_(case.has_gradient) for tensor in arguments]
    with torch.set_grad_enabled(case.has_gradient):
        outputs = case.call(name, points)
    if not case.has_gradient:
        return outputs
    total = torch.stack([y.double().square().sum() for y in outputs]).sum()
    return *(y.detach() for y in outputs), *torch.autograd.grad(total, points)
