"""The scales that the gates of a network give its channels, before and after their activation."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import altair as alt
import torch
from torch import Tensor, nn

from convgate.charts import COLOURS
from convgate.errors import InputError, unknown
from convgate.gates import Gate
from convgate.insertion import IdentityStart, list_sites
from convgate.measure.settings import evaluated
from convgate.networks import Network
from convgate.view.activations import (
    ActivationCall,
    ActivationKind,
    by_channel,
    run_watched,
    scale_of,
)

NEAR = 2.0**-8
"""Nearer than this to a limit, a scale is as good as there: numbers of bfloat16 just below 1 lie
2^-8 apart, and a sigmoid's slope s (1 - s) has fallen from 1/4 to less than 2^-8."""

MAX_DRAWN = 4
PANEL = 300, 110
"""Width and height of a panel, in pixels."""
STATES = {"in use": COLOURS[0], "dead": COLOURS[1], "saturated": COLOURS[3]}
NOTE = "dots: mean over the pictures; bars: range over pictures and positions"


@dataclass
class LayerScales:
    """The scales of one gate's activation over many pictures, in memory for one."""

    layer: str  # the gate's path, with a number where its activation runs more than once
    kind: ActivationKind | None  # None for a gate without an activation
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
            after: The scale that is applied, likewise.
            activated: What the activation gives; the scale is made of that.
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
        """Channels whose applied scale is 0 to within `NEAR` in all pictures, at all positions."""
        return torch.maximum(self.lowest.abs(), self.highest.abs()) < NEAR

    @property
    def saturated(self) -> Tensor:
        """Channels whose activation is at a limit to within `NEAR` everywhere, and not dead."""
        return (self.farthest < NEAR) & ~self.dead

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a channel."""
        columns = {
            "channel": torch.arange(self.channels),
            "before": self.mean_before,
            "scale": self.mean_after,
            "lowest": self.lowest,
            "highest": self.highest,
            "dead": self.dead,
            "saturated": self.saturated,
        }
        values = zip(*(column.tolist() for column in columns.values()), strict=True)
        whose = {"layer": self.layer, "activation": self.kind.name if self.kind else ""}
        return [whose | dict(zip(columns, row, strict=True)) for row in values]

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

    The scale is the one that is applied: of a `Blend` 1 + alpha (s - 1) of the gate's scale s, of
    a `Rescaled` gate s times its gain. Of a gate with two activations, each of the two factors is
    blended so, or takes the root of the gain. Where
    the gate adds a shift (GRN), it is the factor of x; where it shuffles (SA), the sum of the
    weights 1 - alpha and alpha s, before the shuffle. A channel is dead by its applied scale, and
    saturated by its activation, which `before` goes into.

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
            if not calls and isinstance(gate, Gate):
                values = _applied(module, by_channel(scale.float()), 1)
                _layer(found, path, None).add(values, values, values)
            for number, call in enumerate(calls, 1):
                name = path if len(calls) == 1 else f"{path} ({number})"
                after = _after(gate, scale, call, alone=len(calls) == 1)
                after = _applied(module, after, len(calls))
                _layer(found, name, call.kind).add(call.before, after, call.after)

        return hook

    handles = [gate.register_forward_pre_hook(note(path)) for path, gate in gates.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _after(gate: nn.Module, scale: Tensor, call: ActivationCall, *, alone: bool) -> Tensor:
    """Return the gate's own scale where one activation makes it (GCT adds 1), else its value."""
    if not (alone and isinstance(gate, Gate)):
        return call.after
    values = by_channel(scale.float())
    return values if values.shape == call.after.shape else call.after


def _applied(module: nn.Module, scale: Tensor, factors: int) -> Tensor:
    return module.applied(scale, factors) if isinstance(module, IdentityStart) else scale


def _spread(values: Tensor) -> str:
    mean = round(float(values.mean()), 2) + 0.0  # and no negative zero
    return f"{mean:.2f}±{float(values.std(correction=0)):.2f}"


def _layer(found: dict[str, LayerScales], name: str, kind: ActivationKind | None) -> LayerScales:
    return found.setdefault(name, LayerScales(name, kind))


def choose_layers(layers: Sequence[LayerScales], names: Sequence[str] = ()) -> list[LayerScales]:
    """Return the layers that match (``*``, ``?``), or at most four at even steps through all."""
    for name in names:
        if not any(fnmatchcase(layer.layer, name) for layer in layers):
            raise unknown("gated layer", name, [layer.layer for layer in layers])
    if names:
        return [layer for layer in layers if any(fnmatchcase(layer.layer, n) for n in names)]
    if len(layers) <= MAX_DRAWN:
        return list(layers)
    steps = MAX_DRAWN - 1
    return [layers[i * (len(layers) - 1) // steps] for i in range(MAX_DRAWN)]


def draw_scales(layers: Sequence[LayerScales], title: str) -> alt.VConcatChart:
    """Draw each channel's mean over the pictures; after the activation also its whole range."""
    drawn = [alt.hconcat(*_panels(layer), spacing=84, bounds="flush") for layer in layers]
    head = alt.TitleParams(title, subtitle=NOTE, offset=12)
    return alt.vconcat(*drawn, title=head, spacing=12)


def _panels(layer: LayerScales) -> tuple[alt.Chart, alt.LayerChart]:
    states = [
        row | {"state": "dead" if row["dead"] else "saturated" if row["saturated"] else "in use"}
        for row in layer.rows()
    ]
    data = alt.InlineData(values=states)
    x = alt.X(
        "channel:Q",
        axis=alt.Axis(tickMinStep=1, grid=False),
        scale=alt.Scale(nice=False, padding=6),
    )
    colour = alt.Color(
        "state:N",
        scale=alt.Scale(domain=list(STATES), range=list(STATES.values())),
        legend=alt.Legend(orient="bottom", title=None),
    )
    ends = f"after ({layer.kind.name})" if layer.kind else "no activation"
    channels = layer.channels
    left = alt.Chart(data, title=layer.layer).encode(x, _scale_axis("before"), colour)
    right = alt.Chart(data).encode(x, colour)
    dot: dict[str, Any] = {
        "filled": True,
        "size": max(8.0, min(36.0, 3600 / channels)),
        "opacity": 1.0,
    }
    bars = right.mark_rule(opacity=0.35, strokeWidth=max(0.6, min(2.5, 250 / channels)))
    layers = [
        bars.encode(_scale_axis("lowest"), alt.Y2("highest")),
        right.mark_point(**dot).encode(_scale_axis("scale")),
    ]
    width, height = PANEL
    return (
        left.mark_point(**dot).properties(width=width, height=height),
        alt.LayerChart(layer=layers, title=ends, width=width, height=height),
    )


def _scale_axis(column: str) -> alt.Y:
    title = "before" if column == "before" else "applied scale"
    return alt.Y(
        f"{column}:Q", title=title, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=4)
    )
