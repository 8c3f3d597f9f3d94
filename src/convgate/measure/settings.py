"""The same conditions for every candidate: dtype, memory format, threads, compile mode, mode."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convgate.errors import InputError, unknown
from convgate.tables import Readable

Model = Callable[[Tensor], Any]

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
DTYPES["float64"] = torch.float64
_COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


def noise(size: Sequence[int], batch: int = 1) -> Tensor:
    """Return normal noise on the CPU, the same every time: (batch, *size)."""
    return torch.randn(batch, *size, generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True)
class Setting(Readable):
    """How every candidate runs."""

    dtype: str | None = None  # "float32", "float16", "bfloat16", "float64"; None: the model's own
    channels_last: bool = False  # store images and weights with the channels innermost
    threads: int | None = None  # CPU threads within an operator; None leaves torch's own number
    compile_mode: str | None = None  # a mode of torch.compile, as "default"; None runs eagerly
    tf32: bool = False  # let a GPU round float32 products to TF32

    def __post_init__(self) -> None:
        if self.dtype is not None and self.dtype not in DTYPES:
            raise unknown("dtype", self.dtype, DTYPES)
        if self.compile_mode is not None and self.compile_mode not in _COMPILE_MODES:
            raise unknown("compile mode", self.compile_mode, _COMPILE_MODES)
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads={self.threads} is not positive; give at least 1")

    def input(self, x: Tensor) -> Tensor:
        """Return ``x`` as every candidate receives it."""
        x = x.detach()
        if self.dtype is not None and x.is_floating_point():
            x = x.to(DTYPES[self.dtype])
        if self.channels_last and x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        return x

    def eager(self, model: Model) -> Model:
        """Return a copy of a module in eval mode; a bare callable is taken as it is."""
        if not isinstance(model, nn.Module):
            return model
        twin = copy.deepcopy(getattr(model, "_orig_mod", model)).eval()
        for parameter in twin.parameters():
            parameter.grad = None
        if self.dtype is not None:
            twin = twin.to(DTYPES[self.dtype])
        if self.channels_last:
            twin = twin.to(memory_format=torch.channels_last)
        return twin

    def compiled(self, model: Model) -> Model:
        """Return the compiled form of an eager module, or the module where none is asked for."""
        if self.compile_mode is None or not isinstance(model, nn.Module):
            return model
        return torch.compile(model, mode=self.compile_mode, dynamic=False)

    @contextmanager
    def applied(self, candidates: int = 1) -> Iterator[None]:
        """Pin threads and TF32, and give back what was there."""
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(self.threads or threads)
            with (
                rounding_to_tf32(self.tf32),
                _room_to_compile(candidates if self.compile_mode else 0),
            ):
                yield
        finally:
            torch.set_num_threads(threads)


@contextmanager
def rounding_to_tf32(allowed: bool) -> Iterator[None]:
    """Let a GPU round float32 products to TF32, or not, and give back what was there."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    places = (matmul, cudnn.conv, cudnn.rnn)  # type: ignore[attr-defined]
    before = [place.fp32_precision for place in places]
    # torch has two sets of switches and raises when they disagree; the older one moves both.
    matmul.allow_tf32 = cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before[0] == "tf32", before[1] == "tf32"
        for place, precision in zip(places, before, strict=True):
            place.fp32_precision = precision


@contextmanager
def _room_to_compile(candidates: int) -> Iterator[None]:
    if not candidates:
        yield
        return
    import torch._dynamo.config as dynamo  # slow to load, and needed here alone

    # Beyond its limit torch would run the remaining candidates eagerly and say so in a log only.
    limit = max(dynamo.recompile_limit, 8 * candidates)
    with dynamo.patch(recompile_limit=limit, fail_on_recompile_limit_hit=True):
        yield


@contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    """Put every module in eval mode, without gradients, and give each its own mode back."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def check_input(example_input: object) -> None:
    """Refuse what is not a tensor with a batch in front."""
    if not isinstance(example_input, torch.Tensor) or example_input.ndim == 0:
        kind = type(example_input).__name__
        raise TypeError(f"example_input is a {kind}; give a tensor with the batch in front")


def check_varied(x: Tensor) -> None:
    """Refuse a constant input: zeros and repeats let some kernels and caches run faster."""
    if x.numel() > 1 and bool((x == x.flatten()[0]).all()):
        raise InputError(
            "example_input holds one repeated number, which times another thing than an image; "
            "give torch.randn of the same shape"
        )
