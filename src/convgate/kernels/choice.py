"""Which of several forms of one computation is the fastest on a device: tried once, remembered."""

from collections.abc import Callable, Hashable, Sequence
from statistics import median

import torch
from torch import Tensor

Form = Callable[[], Tensor]
ROUNDS = 10

_fastest: dict[Hashable, int] = {}


def fastest(forms: Sequence[Form], x: Tensor, *key: Hashable) -> Form:
    """Return the form with the least median time on x's device, shape and dtype.

    The forms take turns, after one pass each; one whose kernel needs more than the device has is
    left out. Where nothing can be timed (on a CPU, in a compiled or captured graph) it is the
    first.

    Args:
        forms: The same computation of x in several forms.
        x: What they read.
        key: What beside x tells this computation from others.
    """
    if not x.is_cuda or torch.compiler.is_compiling() or torch.cuda.is_current_stream_capturing():
        return forms[0]
    case = x.device, x.shape, x.dtype, key
    if case not in _fastest:
        _fastest[case] = _time(forms, x.device)
    return forms[_fastest[case]]


def _time(forms: Sequence[Form], device: torch.device) -> int:
    able = [index for index, form in enumerate(forms) if _runs(form)]
    rounds = [[_milliseconds(forms[index], device) for index in able] for _ in range(ROUNDS)]
    times = [median(column) for column in zip(*rounds, strict=True)]
    return able[times.index(min(times))]


def _runs(form: Form) -> bool:
    """Run a form once, which compiles it; tell whether the device has the memory on chip for it."""
    from convgate.kernels.fused.launch import OutOfResources

    try:
        form()
    except OutOfResources:
        return False
    return True


def _milliseconds(form: Form, device: torch.device) -> float:
    with torch.cuda.device(device):
        start, end = (torch.Event(device, enable_timing=True) for _ in range(2))
        start.record()
        form()
        end.record()
        end.synchronize()
    return start.elapsed_time(end)
