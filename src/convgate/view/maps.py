"""Find the feature maps of any network by running it once: its last one, and one a resolution."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from convgate.errors import InputError, unknown
from convgate.insertion.module_tree import Layout
from convgate.measure.settings import evaluated

CONTAINERS = (nn.Sequential, nn.ModuleList)
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


@dataclass(frozen=True)
class FeatureMap:
    """What one module gives for one picture."""

    path: str  # of the module
    channels: int
    height: int  # in positions
    width: int
    layout: Layout  # "NHWC" as in Swin, or "NCHW"

    @property
    def positions(self) -> int:
        return self.height * self.width


def trace_maps(model: nn.Module, example: Tensor) -> list[FeatureMap]:
    """Return the feature maps of more than one position, in the order in which they are ready.

    A module that runs several times is left out: it has no single map. What tells the layout is
    that a square picture, such as ``example`` (1, C, H, W), has square maps; where all three sides
    are equal, it is NCHW.
    """
    found, tokens_last = _run(model, example)
    runs = Counter(path for path, _ in found)
    maps = [_map(path, shape) for path, shape in found if runs[path] == 1]
    seen = [m for m in maps if m is not None]
    if not seen or tokens_last:
        why = "its last features are tokens, not a map" if tokens_last else "it gives no map"
        raise InputError(
            f"{type(model).__name__} has no convolution to look at: {why}; give a network that "
            "ends in feature maps"
        )
    return seen


def last_maps(model: nn.Module, example: Tensor, count: int | None = None) -> list[FeatureMap]:
    """Return the last map of each resolution, or of the last ``count``, in the network's order.

    The very last one is what the head takes; before it, each is of the last module that is no mere
    part of a block and no norm.
    """
    maps = trace_maps(model, example)
    ends = {m.positions: m for m in _without_parts(model, maps)}
    ends[maps[-1].positions] = maps[-1]
    order = sorted(ends.values(), key=lambda m: -m.positions)
    if count is None:
        return order
    if not 1 <= count <= len(order):
        sides = ", ".join(str(m.height) for m in order)
        raise InputError(
            f"{type(model).__name__} has maps of {len(order)} sizes ({sides} high), not {count}; "
            f"use --layers 1 to {len(order)}, or name layers"
        )
    return order[-count:]


def named_maps(model: nn.Module, example: Tensor, patterns: Sequence[str]) -> list[FeatureMap]:
    """Return the maps of the modules whose paths match (``*``, ``?``), in the network's order."""
    maps = trace_maps(model, example)
    for pattern in patterns:
        if not any(fnmatchcase(m.path, pattern) for m in maps):
            raise unknown("layer", pattern, [m.path for m in maps])
    return [m for m in maps if any(fnmatchcase(m.path, pattern) for pattern in patterns)]


def choose_maps(model: nn.Module, example: Tensor, layers: str) -> list[FeatureMap]:
    """Return the maps that a text names: a number of resolutions, or paths and patterns."""
    if layers.removeprefix("-").isdigit():
        return last_maps(model, example, int(layers))
    return named_maps(model, example, layers.split(","))


def _run(model: nn.Module, example: Tensor) -> tuple[list[tuple[str, torch.Size]], bool]:
    """Return path and shape of every map, and whether tokens came after the last."""
    found: list[tuple[str, torch.Size]] = []
    tokens_last = False

    def note(path: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            nonlocal tokens_last
            if not isinstance(output, Tensor) or output.shape[0] != 1:
                return
            if output.ndim == 4 and output.numel() > max(output.shape):
                found.append((path, output.shape))
                tokens_last = False
            elif output.ndim == 3 and min(output.shape[1:]) > 1:
                tokens_last = True

        return hook

    handles = [m.register_forward_hook(note(name)) for name, m in model.named_modules() if name]
    try:
        with evaluated(model):
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    return found, tokens_last


def _map(path: str, shape: torch.Size) -> FeatureMap | None:
    _, a, b, c = shape
    if b == c and b > 1:
        return FeatureMap(path, a, b, c, "NCHW")
    if a == b and a > 1:
        return FeatureMap(path, c, a, b, "NHWC")
    return None  # a row, a column, or not of this picture


def _without_parts(model: nn.Module, maps: Sequence[FeatureMap]) -> list[FeatureMap]:
    """Leave out norms, and what is inside a block or stage that ends at another resolution."""
    modules = dict(model.named_modules())
    blocks = {m.path: m for m in maps if type(modules[m.path]) not in CONTAINERS}

    def is_part(inner: FeatureMap) -> bool:
        parts = inner.path.split(".")
        above = (blocks.get(".".join(parts[:depth])) for depth in range(1, len(parts)))
        return any(m is not None and m.positions != inner.positions for m in above)

    return [m for m in maps if not isinstance(modules[m.path], NORMS) and not is_part(m)]
