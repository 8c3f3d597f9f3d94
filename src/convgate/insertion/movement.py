"""How far the gates of a network stand from the identity."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from convgate.insertion.attach import inserted
from convgate.measure.settings import evaluated

MIN_MOVEMENT = 2.0**-8
"""A gate that changes its input by less does not act: numbers of bfloat16 just below 1 lie 2^-8
apart, so that a scale rounded to it would be 1, or no farther from 1 than the next number is."""


def measure_movement(model: nn.Module, batches: Iterable[Tensor]) -> dict[str, float]:
    """Return by how much every inserted gate changes its input, a share of the input's size.

        moved = sum |y - x| / sum |x|

    summed over all pictures, channels and positions: 0 for the identity, and for a gate that
    scales the mean of |s - 1|, in which each position counts by |x|.

    Args:
        model: A gated network; it is run in evaluation mode, and left in the mode it had.
        batches: What the network takes, (N, C, H, W) each.
    """
    sums: dict[str, Tensor] = {}

    def note(path: str) -> Any:
        def hook(_gate: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> None:
            x = args[0]
            change = (y - x).abs().sum(dtype=torch.float64)
            sizes = torch.stack([change, x.abs().sum(dtype=torch.float64)]).cpu()
            sums[path] = sums.get(path, torch.zeros(2, dtype=torch.float64)) + sizes

        return hook

    handles = [gate.register_forward_hook(note(path)) for path, gate, _ in inserted(model)]
    try:
        with evaluated(model):
            for x in batches if handles else ():
                model(x)
    finally:
        for handle in handles:
            handle.remove()
    return {path: float(change / size) if size else 0.0 for path, (change, size) in sums.items()}


def describe_movement(moved: Mapping[str, float]) -> str:
    """Say in half a sentence how far gates stand from the identity; nothing of no gates."""
    if not moved:
        return ""
    mean = f"{100 * sum(moved.values()) / len(moved):.2g} %"
    idle = sum(value < MIN_MOVEMENT for value in moved.values())
    if idle == len(moved):
        return f"the gates did not act: they change their input by {mean}"
    some = f"; {idle} of {len(moved)} did not act" if idle else ""
    return f"the gates change their input by {mean}{some}"
