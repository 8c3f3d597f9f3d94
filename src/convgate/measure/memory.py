"""Bytes of the weights, and the most bytes alive at one moment of a forward pass."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from convgate.measure.operators import tensors
from convgate.measure.settings import check_input, evaluated
from convgate.tables import Readable

MIB = 2**20


@dataclass(frozen=True)
class PeakMemory(Readable):
    """Memory of one forward pass without gradients."""

    weight_bytes: int  # parameters and buffers
    input_bytes: int  # the example input
    activation_bytes: int  # the most that the results of operators held at one moment, beyond both
    # "allocator" on a GPU (workspaces and the rounding of blocks included) or "tensors" elsewhere
    # (exact for tensors; an operator's own scratch is not seen)
    counter: str

    @property
    def peak_bytes(self) -> int:
        return self.weight_bytes + self.input_bytes + self.activation_bytes

    @property
    def peak_mib(self) -> float:
        return self.peak_bytes / MIB

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"peak_bytes": self.peak_bytes}


def peak_memory(model: nn.Module, example_input: Tensor) -> PeakMemory:
    """Run one forward pass in eval mode and return its peak; works on the meta device, too."""
    check_input(example_input)
    held = [*model.parameters(), *model.buffers()]
    on_gpu = example_input.device.type == "cuda"
    run = _allocator_peak if on_gpu else _tensor_peak
    with evaluated(model):
        activations = run(model, example_input, held)
    return PeakMemory(
        weight_bytes=_stored(held),
        input_bytes=_stored([example_input]),
        activation_bytes=activations,
        counter="allocator" if on_gpu else "tensors",
    )


def _stored(many: list[Tensor]) -> int:
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in many}
    return sum(storages.values())


def _allocator_peak(model: nn.Module, x: Tensor, held: list[Tensor]) -> int:
    model(x)  # the first pass also allocates workspaces that stay
    torch.cuda.synchronize(x.device)
    torch.cuda.reset_peak_memory_stats(x.device)
    before = torch.cuda.memory_allocated(x.device)
    model(x)
    torch.cuda.synchronize(x.device)
    return torch.cuda.max_memory_allocated(x.device) - before


def _tensor_peak(model: nn.Module, x: Tensor, held: list[Tensor]) -> int:
    tracker = _Live([x, *held])
    with tracker:
        model(x)
    return tracker.peak_bytes


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums, after every operator, the storages that something still refers to."""

    def __init__(self, known: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known = {t.untyped_storage()._cdata for t in known}
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak_bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self._drop_the_dead()
        for tensor in tensors(out):
            storage = tensor.untyped_storage()
            if storage._cdata not in self._known:
                reference = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
                self._alive[storage._cdata] = (reference, storage.nbytes())
        self.peak_bytes = max(self.peak_bytes, sum(size for _, size in self._alive.values()))
        return out

    def _drop_the_dead(self) -> None:
        # A dead storage's address may be given to the next one, so it goes before any is added.
        for key, (reference, _) in list(self._alive.items()):
            if reference.expired():  # type: ignore[no-untyped-call]
                del self._alive[key]
