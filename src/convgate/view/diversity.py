"""The mean feature distance of every block, for several networks in one pass over the pictures."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from convgate.insertion import list_sites
from convgate.insertion.sites import find_blocks
from convgate.measure import FeatureDistance, feature_distances
from convgate.networks import Network, Preprocessing
from convgate.view.maps import last_maps, named_maps

EXPANSIONS = {"hidden": "after the expansion", "expanded": "after the expansion"}
"""The sites that follow an expansion: of ConvNeXt's and HorNet's MLP, of an inverted residual."""


@dataclass(frozen=True)
class Place:
    """A tensor that is looked at."""

    path: str
    channels_last: bool


@dataclass(frozen=True)
class Curve:
    """The distances of one network, from its first block to its last.

    Args:
        network: Whose.
        where: Where in each block, in words.
        distances: By the path of the layer, in the network's order.
    """

    network: Network
    where: str
    distances: dict[str, FeatureDistance]

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
            "least": f"{min(values):.4f}",
            "most": f"{max(values):.4f}",
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
) -> list[Curve]:
    """Measure every block's feature distance; each network runs once, whatever it has of blocks.

    The tensor is that after the expansion (4C channels in ConvNeXt, ConvNeXt V2, SELNeXt and
    HorNet; the expanded ones of MobileNetV2, V3 and EfficientNet), after its activation and before
    the block's own gate; in other known families the block's output, and in unknown ones the
    output of each stage. Memory does not grow with the number of pictures.

    Source: doi 10.32604/cmc.2025.059966, eq. 4 and Fig. 2.

    Args:
        networks: Those that see the same pixels share a pass.
        batches: Gives the pictures cut as a network wants them, uint8 (N, C, H, W).
        patterns: Other layers to look at, as module paths or shell patterns for them.

    Raises:
        InputError: for a pattern without a layer, or a network without feature maps.
    """
    chosen = [choose_places(network, patterns) for network in networks]
    found: dict[str, FeatureDistance] = {}
    for geometry in dict.fromkeys(network.images.geometry for network in networks):
        group = [i for i, network in enumerate(networks) if network.images.geometry == geometry]
        names = {
            f"parts.{k}.{place.path}": place for k, i in enumerate(group) for place in chosen[i][1]
        }
        last = [name for name, place in names.items() if place.channels_last]
        together = Together([networks[i] for i in group])
        measured = feature_distances(together, batches(geometry), list(names), channels_last=last)
        for name, distance in measured.items():
            _, k, path = name.split(".", 2)
            found[f"{group[int(k)]}.{path}"] = distance
    return [
        Curve(network, where, {place.path: found[f"{i}.{place.path}"] for place in places})
        for i, (network, (where, places)) in enumerate(zip(networks, chosen, strict=True))
    ]


def choose_places(network: Network, patterns: Sequence[str] = ()) -> tuple[str, list[Place]]:
    """Return where a network is looked at: in words, and as tensors in the network's order.

    Raises:
        InputError: for a pattern without a layer, or a network without feature maps.
    """
    model = network.model
    if patterns:
        maps = named_maps(model, network.example(), patterns)
        return "after the named layers", [Place(m.path, m.layout == "NHWC") for m in maps]
    sites = list_sites(model)
    for name, where in EXPANSIONS.items():
        places = [Place(s.path, s.layout == "NHWC") for s in sites if s.name == name]
        if places:
            return where, places
    blocks = [Place(block.path, channels_last=False) for block in find_blocks(model)]
    if blocks:
        return "after each block", blocks
    maps = last_maps(model, network.example())
    return "after each stage", [Place(m.path, m.layout == "NHWC") for m in maps]
