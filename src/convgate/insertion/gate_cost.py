"""What a gate costs by itself: multiply-adds, and its share of a network's latency."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from convgate.measure import LatencyRow, compare_latency, count
from convgate.measure.settings import evaluated


def count_macs(gate: nn.Module, shape: Sequence[int]) -> int:
    """Count the multiply-adds of a gate for one image, without computing anything.

    Shape: ``shape`` is (N, C, H, W); N is taken as one.
    """
    twin = copy.deepcopy(gate).to("meta")
    dtype = next((p.dtype for p in twin.parameters()), torch.float32)
    return count(twin, torch.empty(1, *shape[1:], device="meta", dtype=dtype)).macs


def time_gates(
    model: nn.Module, paths: Sequence[str], example_input: Tensor, **options: Any
) -> list[tuple[int, LatencyRow]]:
    """Return the multiply-adds and the latency against the whole network's, gate by gate.

    Gates of one kind on tensors of one form are timed once.

    Args:
        model: A network.
        paths: Its gates.
        example_input: What the network takes, (N, C, H, W).
        options: Of `compare_latency`.
    """
    gates = [model.get_submodule(path) for path in paths]
    inputs = _inputs(model, gates, example_input)
    cases = [
        f"{gate} on {tuple(x.shape)} {x.stride()}" for gate, x in zip(gates, inputs, strict=True)
    ]
    runs = {case: _run(gate, x) for case, gate, x in zip(cases, gates, inputs, strict=True)}
    timed = compare_latency({"network": model, **runs}, example_input, base="network", **options)
    macs = {case: count_macs(g, x.shape) for case, g, x in zip(cases, gates, inputs, strict=True)}
    return [(macs[case], timed.row(case)) for case in cases]


def _inputs(model: nn.Module, gates: Sequence[nn.Module], example_input: Tensor) -> list[Tensor]:
    """Run the network and return what each gate received."""
    received: dict[nn.Module, Tensor] = {}

    def keep(gate: nn.Module, args: tuple[Tensor, ...]) -> None:
        received[gate] = args[0].detach().clone()

    handles = [gate.register_forward_pre_hook(keep) for gate in gates]
    try:
        with evaluated(model):
            model(example_input)
    finally:
        for handle in handles:
            handle.remove()
    return [received[gate] for gate in gates]


def _run(gate: nn.Module, x: Tensor) -> Callable[[Tensor], Any]:
    twin = copy.deepcopy(gate).eval()
    return lambda _image: twin(x)
