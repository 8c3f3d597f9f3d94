"""Which of an operator's two forms runs: the plain reference, or the fused kernel."""

import logging
import os
from importlib.util import find_spec
from types import TracebackType

import torch
from torch import Tensor, fx

from convgate.errors import InputError, unknown
from convgate.kernels.trust import trusts

VARIABLE = "CONVGATE_KERNELS"
PATHS = ("auto", "fused", "reference")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
HAS_TRITON = find_spec("triton") is not None

_chosen = "auto"
_said: set[str] = set()


class use:
    """Choose the path of every operator from here on; as a context manager, only inside it.

    `auto`, the default, takes the fused kernel for a CUDA tensor where Triton is installed and the
    kernel agrees with its reference (tried once, see `convgate.kernels.trust`), and the reference
    elsewhere. `fused` refuses what it cannot run instead. `reference` never leaves
    plain torch: counting takes it, and so must what a kernel does not offer (second derivatives,
    vmap). An exported graph holds the reference whatever was chosen.

    The variable CONVGATE_KERNELS=reference chooses it for a whole process.

        kernels.use("reference")
        with kernels.use("reference"):
            ...

    Args:
        path: `auto`, `fused` or `reference`.

    Raises:
        InputError: for another path, or for `fused` without Triton.
    """

    def __init__(self, path: str) -> None:
        global _chosen
        if path not in PATHS:
            raise unknown("path of the kernels", path, PATHS)
        if path == "fused" and not HAS_TRITON:
            raise InputError("kernels: use('fused') needs Triton: pip install triton")
        self._before = _chosen
        _chosen = path

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        global _chosen
        _chosen = self._before


if VARIABLE in os.environ:
    use(os.environ[VARIABLE])


def takes_fused(x: Tensor | fx.Proxy, *stems: str) -> bool:
    """Tell whether the fused kernels of operators, by their stems, run on x."""
    if _chosen == "reference" or isinstance(x, fx.Proxy) or _is_exported() or x.numel() == 0:
        return False
    if _chosen == "fused":
        _refuse(x)
        return True
    if not x.is_cuda or x.dtype not in DTYPES:
        return False
    if not HAS_TRITON and not torch.compiler.is_compiling():
        _say_once("Triton is not installed: CUDA tensors take the plain torch path")
    return HAS_TRITON and all(trusts(stem, str(x.device), x.dtype) for stem in stems)


def _is_exported() -> bool:
    traced = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return torch.compiler.is_exporting() or traced


def _refuse(x: Tensor) -> None:
    if x.dtype not in DTYPES:
        raise InputError(
            f"kernels: the fused path has no {x.dtype}; give float32, float16 or bfloat16, "
            "or use('auto')"
        )
    if not x.is_cuda:
        from convgate.kernels.fused.launch import INTERPRETED

        if not INTERPRETED:
            raise InputError(
                f"kernels: the fused path needs a CUDA tensor, not one on {x.device}; use('auto')"
            )


def _say_once(text: str) -> None:
    if text not in _said:
        _said.add(text)
        logging.getLogger("convgate.kernels").warning(text)
