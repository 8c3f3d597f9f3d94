"""Parameters, multiply-adds, element-wise work and bytes of one forward pass."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from convgate import kernels
from convgate.measure.operators import SILENT, bytes_of, is_known, macs_of, name_of, operations_of
from convgate.measure.settings import check_input, evaluated
from convgate.tables import Readable


@dataclass(frozen=True)
class Cost(Readable):
    """What one forward pass costs, counted on the plain reference form."""

    params: int  # numbers in all parameters
    trainable_params: int  # those of them that take a gradient
    buffers: int  # numbers in buffers (running statistics), which ``params`` leaves out
    macs: int  # multiply-adds of convolutions and matrix products, for the whole batch
    elementwise_ops: int  # operations of everything else, by the rules in `operators`
    # the least bytes that the operators read and write, one after the other: every operator reads
    # its distinct inputs and writes its result; views are free
    bytes_moved: int
    uncounted: tuple[str, ...]  # names of the operators whose operations are in neither count


def count(model: nn.Module, example_input: Tensor) -> Cost:
    """Count one forward pass of ``model`` in eval mode; the model is left as it was.

    On the meta device (``with torch.device("meta")``) nothing is computed and only counted.

    Shape: ``example_input`` (N, ...), on the model's device; counts are for all N.
    """
    check_input(example_input)
    plain = getattr(model, "_orig_mod", model)  # what torch.compile wrapped
    counter = _Counter()
    with kernels.use("reference"), evaluated(plain), counter:
        plain(example_input)
    trainable = [p for p in plain.parameters() if p.requires_grad]
    return Cost(
        params=_numbers(plain.parameters()),
        trainable_params=_numbers(trainable),
        buffers=_numbers(plain.buffers()),
        macs=counter.macs,
        elementwise_ops=counter.elementwise_ops,
        bytes_moved=counter.bytes_moved,
        uncounted=tuple(sorted(counter.uncounted)),
    )


def _numbers(many: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in many)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = self.elementwise_ops = self.bytes_moved = 0
        self.uncounted: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if not isinstance(func, torch._ops.OpOverload):  # a control-flow or compiled region
            self.uncounted.add(str(func))
            return func(*args, **kwargs)
        if not is_known(func):  # inference tensors bring composite operators undivided
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        if not func.is_view and name_of(func) not in SILENT:
            self._count(func, args, kwargs, out)
        return out

    def _count(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        self.bytes_moved += bytes_of(func, args, kwargs, out)
        macs = macs_of(func, args, kwargs, out)
        operations = operations_of(func, args, out)
        self.macs += macs or 0
        self.elementwise_ops += operations or 0
        if macs is None and operations is None:
            self.uncounted.add(str(func.overloadpacket))
