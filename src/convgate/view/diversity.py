"""The mean feature distance of every block, for several networks in one pass over the pictures."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
from torch import Tensor, nn

from convgate.insertion.module_tree import TensorSite
from convgate.insertion.sites import find_blocks
from convgate.measure import FeatureDistance, feature_distances
from convgate.networks import Network, Preprocessing, distinct
from convgate.view.maps import last_maps, named_maps

EXPANSIONS = {"hidden": "after the expansion", "expanded": "after the expansion"}
"""The sites that follow an expansion: of ConvNeXt's and HorNet's MLP, of an inverted residual."""
KEY = alt.Legend(orient="bottom", columns=1, symbolSize=60)


@dataclass(frozen=True)
class DiversityCurve:
    """The distances of one network, from its first block to its last."""

    network: Network
    where: str  # in each block, in words
    distances: dict[str, FeatureDistance]  # by the path of the layer, in the network's order

    def rows(self) -> list[dict[str, Any]]:
        """Return the numbers as rows of a table."""
        return [
            {
                "model": self.network.label,
                "weights": self.network.card.weights,
                "where": self.where,
                "block": number,
                "layer": layer,
                **found.to_dict(),
            }
            for number, (layer, found) in enumerate(self.distances.items(), 1)
        ]

    def summary(self) -> dict[str, Any]:
        """Return one row on all blocks."""
        values = [found.distance for found in self.distances.values()]
        return {
            "model": self.network.title,
            "where": self.where,
            "blocks": len(values),
            "mean distance": f"{sum(values) / len(values):.4f}",
            "min": f"{min(values):.4f}",
            "max": f"{max(values):.4f}",
            "pictures": next(iter(self.distances.values())).images,
        }


class Together(nn.Module):
    """Several networks that see the same pictures, each normalised as it wants them.

    Shape: uint8 (N, C, H, W) -> nothing.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        super().__init__()
        self.networks = networks
        self.parts = nn.ModuleList(network.model for network in networks)

    def forward(self, pixels: Tensor) -> None:
        for network in self.networks:
            network.model(network.normalise(pixels))


def measure_diversity(
    networks: Sequence[Network],
    batches: Callable[[Preprocessing], Iterable[Tensor]],
    patterns: Sequence[str] = (),
) -> list[DiversityCurve]:
    """Measure every block's feature distance; each network runs once, whatever it has of blocks.

    The tensor is that after the expansion (4C channels in ConvNeXt, ConvNeXt V2, SELNeXt and
    HorNet; the expanded ones of MobileNetV2, V3 and EfficientNet), after its activation and before
    the block's own gate; where most blocks have none, the block's output, and without blocks on
    maps the output of each stage. Memory does not grow with the number of pictures.

    Source: doi 10.32604/cmc.2025.059966, eq. 4 and Fig. 2.

    Args:
        networks: Those that see the same pixels share a pass.
        batches: Gives the pictures cut as a network wants them, uint8 (N, C, H, W).
        patterns: Other layers to look at, as module paths or shell patterns for them.

    Raises:
        InputError: for a pattern without a layer, or a network without feature maps.
    """
    chosen = [layers_to_measure(network, patterns) for network in networks]
    found: dict[str, FeatureDistance] = {}
    for geometry in dict.fromkeys(network.images.geometry for network in networks):
        group = [i for i, network in enumerate(networks) if network.images.geometry == geometry]
        names = {
            f"parts.{k}.{path}": last
            for k, i in enumerate(group)
            for path, last in chosen[i][1].items()
        }
        last = [name for name, is_last in names.items() if is_last]
        together = Together([networks[i] for i in group])
        measured = feature_distances(together, batches(geometry), list(names), channels_last=last)
        for name, distance in measured.items():
            _, k, path = name.split(".", 2)
            found[f"{group[int(k)]}.{path}"] = distance
    return [
        DiversityCurve(network, where, {path: found[f"{i}.{path}"] for path in paths})
        for i, (network, (where, paths)) in enumerate(zip(networks, chosen, strict=True))
    ]


def layers_to_measure(
    network: Network, patterns: Sequence[str] = ()
) -> tuple[str, dict[str, bool]]:
    """Return where a network is measured: in words, and layer -> whether its channels are last."""
    model = network.model
    if patterns:
        maps = named_maps(model, network.example(), patterns)
        return "after the named layers", {m.path: m.layout == "NHWC" for m in maps}
    blocks = find_blocks(model)
    for name, where in EXPANSIONS.items():
        layers = _maps([block.sites.get(name) for block in blocks])
        if 2 * len(layers) > len(blocks):
            return where, layers
    outputs = _maps([block.output for block in blocks])
    if outputs:
        return "after each block", outputs
    maps = last_maps(model, network.example())
    return "after each stage", {m.path: m.layout == "NHWC" for m in maps}


def _maps(sites: Sequence[TensorSite | None]) -> dict[str, bool]:
    """Return the modules that give a map, and whether its channels are last."""
    return {
        site.path: site.layout == "NHWC"
        for site in sites
        if site is not None and site.where == "output" and site.layout != "NLC"
    }


def draw_diversity(curves: Sequence[DiversityCurve]) -> alt.Chart:
    """Draw a line for each network; over the depth's share where the numbers of blocks differ."""
    names = distinct([f"{curve.network.title}: {curve.where}" for curve in curves])
    counts = {len(curve.distances) for curve in curves}
    shared = len(counts) == 1
    points = [
        {"network": name, "x": n if shared else n / len(curve.distances), "y": found.distance}
        for name, curve in zip(names, curves, strict=True)
        for n, found in enumerate(curve.distances.values(), 1)
    ]
    title = "block" if shared else "depth: number of the block over all blocks"
    end = max(counts) + 0.5 if shared else 1.02
    key: dict[str, Any] = {"scale": alt.Scale(domain=names), "legend": KEY, "title": None}
    return (
        alt.Chart(alt.InlineData(values=points), width=520, height=300)
        .mark_line(point=alt.OverlayMarkDef(size=36, filled=True), strokeWidth=2)
        .encode(
            x=alt.X(
                "x:Q",
                title=title,
                scale=alt.Scale(domain=[0.5 if shared else 0, end], nice=False),
                axis=alt.Axis(tickMinStep=1) if shared else alt.Axis(),
            ),
            y=alt.Y(
                "y:Q",
                title="mean feature cosine distance",
                scale=alt.Scale(domain=[0, 0.52], nice=False),
            ),
            color=alt.Color("network:N", **key),
            shape=alt.Shape("network:N", **key),
        )
    )
