"""The scales that the gates of a network give its channels, before and after their activation."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from convgate.errors import InputError
from convgate.gates import Gate
from convgate.insertion import IdentityStart, list_sites
from convgate.measure.settings import evaluated
from convgate.networks import Network
from convgate.view.activations import Activation, Kind, by_channel, run_watched, scale_of

NEAR = 2.0**-8
"""Nearer than this to a limit, a scale is as good as there: numbers of bfloat16 just below 1 lie
2^-8 apart, and a sigmoid's slope s (1 - s) has fallen from 1/4 to less than 2^-8."""


@dataclass
class LayerScales:
    """The scales of one gate's activation over many pictures, in memory for one.

    Args:
        layer: The gate's path, with a number where its activation runs more than once.
        kind: The activation; None for a gate without one.
    """

    layer: str
    kind: Kind | None
    pictures: int = 0
    before: Tensor = field(default_factory=lambda: torch.zeros(0))
    after: Tensor = field(default_factory=lambda: torch.zeros(0))
    lowest: Tensor = field(default_factory=lambda: torch.zeros(0))
    highest: Tensor = field(default_factory=lambda: torch.zeros(0))
    farthest: Tensor = field(default_factory=lambda: torch.zeros(0))

    def add(self, before: Tensor, after: Tensor, activated: Tensor) -> None:
        """Add a batch.

        Args:
            before: z, (N, channels, positions).
            after: The scale, likewise.
            activated: What the activation gives; the scale may be that plus a constant.
        """
        limits = self.kind.limits if self.kind else ()
        away = [(activated - limit).abs() for limit in limits] or [torch.full_like(after, 1.0)]
        near = torch.stack(away).amin(0)
        means = [v.mean(2).sum(0, dtype=torch.float64).cpu() for v in (before, after)]
        ends = [after.amin((0, 2)).cpu(), after.amax((0, 2)).cpu(), near.amax((0, 2)).cpu()]
        if self.pictures == 0:
            self.before, self.after = means
            self.lowest, self.highest, self.farthest = ends
        else:
            self.before, self.after = self.before + means[0], self.after + means[1]
            self.lowest = torch.minimum(self.lowest, ends[0])
            self.highest = torch.maximum(self.highest, ends[1])
            self.farthest = torch.maximum(self.farthest, ends[2])
        self.pictures += len(after)

    @property
    def channels(self) -> int:
        return len(self.after)

    @property
    def mean_before(self) -> Tensor:
        return self.before / self.pictures

    @property
    def mean_after(self) -> Tensor:
        return self.after / self.pictures

    @property
    def dead(self) -> Tensor:
        """Channels whose scale is 0 to within `NEAR` in all pictures, at all positions."""
        return torch.maximum(self.lowest.abs(), self.highest.abs()) < NEAR

    @property
    def saturated(self) -> Tensor:
        """Channels whose activation is at a limit to within `NEAR` everywhere, and not dead."""
        return (self.farthest < NEAR) & ~self.dead

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a channel."""
        columns = {
            "before": self.mean_before,
            "scale": self.mean_after,
            "lowest": self.lowest,
            "highest": self.highest,
            "dead": self.dead,
            "saturated": self.saturated,
        }
        numbers = {name: column.tolist() for name, column in columns.items()}
        return [
            {"layer": self.layer, "activation": self.kind.name if self.kind else "", "channel": c}
            | {name: column[c] for name, column in numbers.items()}
            for c in range(self.channels)
        ]

    def summary(self) -> dict[str, Any]:
        """Return one row on all channels: means with their standard deviation over channels."""
        return {
            "layer": self.layer,
            "ends in": self.kind.name if self.kind else "none",
            "C": self.channels,
            "before": _spread(self.mean_before),
            "scale": _spread(self.mean_after),
            "dead": int(self.dead.sum()),
            "saturated": int(self.saturated.sum()) if self.kind and self.kind.limits else "-",
        }


def measure_scales(network: Network, batches: Iterable[Tensor]) -> list[LayerScales]:
    """Let pictures pass a network once, and sum up the scales that its gates give.

    Known are this package's gates, inserted or a network's own, and the channel attention that
    timm's and torchvision's networks have at the sites "se".

    Args:
        network: The network.
        batches: Pictures cut as the network wants them, uint8 (N, C, H, W).

    Raises:
        InputError: if the network has no gate.
    """
    gates = find_gates(network.model)
    if not gates:
        raise InputError(
            f"{network.label} has no gate to look at; name a run with a gate, or a network that "
            "has channel attention of its own, such as selnext_tiny or mobilenetv3_large_100"
        )
    found: dict[str, LayerScales] = {}
    with evaluated(network.model), _watched(gates, found):
        for pixels in batches:
            network.model(network.normalise(pixels))
    return list(found.values())


def find_gates(model: nn.Module) -> dict[str, nn.Module]:
    """Return the gates of a network by path, in its order: ours, and the attention it came with."""
    own = {site.path for site in list_sites(model) if site.name == "se"}
    gates: dict[str, nn.Module] = {}
    for path, module in model.named_modules():
        if any(path.startswith(f"{outer}.") for outer in gates):
            continue
        if isinstance(module, Gate | IdentityStart) or path in own:
            gates[path] = module
    return gates


@contextmanager
def _watched(gates: dict[str, nn.Module], found: dict[str, LayerScales]) -> Iterator[None]:
    def note(path: str) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            gate = module.gate if isinstance(module, IdentityStart) else module
            assert isinstance(gate, nn.Module)
            scale, calls = run_watched(lambda: scale_of(gate, args[0]))
            if not calls:
                if isinstance(gate, Gate):
                    values = by_channel(scale.float())
                    _layer(found, path, None).add(values, values, values)
                return
            for number, call in enumerate(calls, 1):
                name = path if len(calls) == 1 else f"{path} ({number})"
                after = _after(gate, scale, call, alone=len(calls) == 1)
                _layer(found, name, call.kind).add(call.before, after, call.after)

        return hook

    handles = [gate.register_forward_pre_hook(note(path)) for path, gate in gates.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _after(gate: nn.Module, scale: Tensor, call: Activation, *, alone: bool) -> Tensor:
    """Return the gate's own scale where one activation makes it (GCT adds 1), else its value."""
    if not (alone and isinstance(gate, Gate)):
        return call.after
    values = by_channel(scale.float())
    return values if values.shape == call.after.shape else call.after


def _spread(values: Tensor) -> str:
    mean = round(float(values.mean()), 2) + 0.0  # and no negative zero
    return f"{mean:.2f}±{float(values.std(correction=0)):.2f}"


def _layer(found: dict[str, LayerScales], name: str, kind: Kind | None) -> LayerScales:
    return found.setdefault(name, LayerScales(name, kind))
