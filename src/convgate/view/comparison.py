"""Class activation maps of several networks on the same photographs, ready to be drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from PIL import Image
from torch import Tensor

from convgate.errors import InputError, unknown
from convgate.networks import Network
from convgate.view.cam import Answer, activation_map, ask, list_methods
from convgate.view.cam_picture import Cell, short
from convgate.view.maps import FeatureMap, last_maps, named_maps
from convgate.view.pictures import OnProgress


@dataclass(frozen=True)
class Seen:
    """What one network makes of one photograph: its answer, and a map for each layer."""

    network: Network
    pixels: Tensor
    answer: Answer
    layers: Sequence[FeatureMap]
    maps: Sequence[Tensor]

    @property
    def says(self) -> str:
        """The predicted class and its probability, and those of another class asked for."""
        answer = self.answer
        lines = [self._share(answer.predicted, answer.probability)]
        if answer.target != answer.predicted:
            lines.append(f"of {self._share(answer.target, answer.target_probability)}")
        return "\n".join(lines)

    def _share(self, index: int, probability: float) -> str:
        digits = 0 if probability >= 0.1 else 1
        return f"{short(self.network.class_name(index))} {probability:.{digits}%}"


def compare_maps(
    networks: Sequence[Network],
    images: Sequence[tuple[str, Image.Image]],
    *,
    method: str = "gradcam",
    layers: str = "1",
    class_name: str = "",
    on_progress: OnProgress | None = None,
) -> list[tuple[str, list[Seen]]]:
    """Return, for every photograph, its name and what each network sees in it.

    Args:
        networks: The networks.
        images: Names and photographs.
        method: One of `list_methods()`.
        layers: How many maps, one a resolution up to the last, or layers with commas between.
        class_name: The class the maps are of, by name or number; each network's own answer where
            empty.
        on_progress: Told what was done, and its share of the whole.

    Raises:
        InputError: for an unknown method, layer or class, or a network without maps.
    """
    if method not in list_methods():
        raise unknown("CAM method", method, list_methods())
    chosen = [choose_layers(network, layers) for network in networks]
    targets = [find_class(network, class_name) for network in networks]
    found: list[tuple[str, list[Seen]]] = []
    done, total = 0, len(images) * len(networks)
    for name, image in images:
        row: list[Seen] = []
        for network, its_layers, target in zip(networks, chosen, targets, strict=True):
            row.append(_see(network, image, its_layers, target, method))
            done += 1
            if on_progress is not None:
                on_progress(f"{network.label}: {name}", done / total)
        found.append((name, row))
    return found


def choose_layers(network: Network, layers: str) -> list[FeatureMap]:
    """Return the layers that a text names: a number of resolutions, or paths and patterns.

    Raises:
        InputError: for a layer or number of them that the network does not have.
    """
    if layers.removeprefix("-").isdigit():
        return last_maps(network.model, network.example(), int(layers))
    return named_maps(network.model, network.example(), layers.split(","))


def find_class(network: Network, name: str) -> int | None:
    """Return the number of a class by its name or number; None for an empty name.

    Raises:
        InputError: for a name that the network's classes do not have (with the nearest).
    """
    if not name:
        return None
    if name in network.classes:
        return network.classes.index(name)
    if name.removeprefix("-").isdigit():
        return int(name)
    if not network.classes:
        raise InputError(f"{network.label} has no class names; give the class by its number")
    raise unknown("class", name, network.classes)


def side_by_side(
    found: Sequence[tuple[str, Sequence[Seen]]],
) -> tuple[list[str], list[tuple[str, list[Cell]]]]:
    """Return columns and rows: networks beside each other, or one network's layers in a strip."""
    first = found[0][1]
    if max(len(seen.maps) for seen in first) > 1:
        return _strips(found)
    rows = [
        (_short_name(name), [Cell(row[0].pixels, None), *(_cell(seen, seen.says) for seen in row)])
        for name, row in found
    ]
    return ["photograph", *(seen.network.title for seen in first)], rows


def numbers(found: Sequence[tuple[str, Sequence[Seen]]]) -> list[dict[str, Any]]:
    """Return what each network answered as rows of a file."""
    return [
        {
            "picture": name,
            "model": seen.network.label,
            "weights": seen.network.card.weights,
            "predicted": seen.network.class_name(seen.answer.predicted),
            "probability": seen.answer.probability,
            "map_of": seen.network.class_name(seen.answer.target),
            "map_of_probability": seen.answer.target_probability,
            "layers": " ".join(layer.path for layer in seen.layers),
        }
        for name, row in found
        for seen in row
    ]


def summary(found: Sequence[tuple[str, Sequence[Seen]]]) -> list[dict[str, str]]:
    """Return the same in short: a row a picture, a column a network."""
    return [
        {"picture": _short_name(name)} | {seen.network.title: seen.says for seen in row}
        for name, row in found
    ]


def _see(
    network: Network,
    image: Image.Image,
    layers: Sequence[FeatureMap],
    target: int | None,
    method: str,
) -> Seen:
    pixels = network.images.pixels(image)
    x = network.normalise(pixels[None])
    answer = ask(network, x, target)
    maps = [activation_map(network, x, layer, answer.target, method) for layer in layers]
    return Seen(network, pixels.expand(3, -1, -1), answer, layers, maps)


def _strips(
    found: Sequence[tuple[str, Sequence[Seen]]],
) -> tuple[list[str], list[tuple[str, list[Cell]]]]:
    most = max(len(seen.maps) for _, row in found for seen in row)
    if any(len(seen.maps) != most for _, row in found for seen in row):
        raise InputError("the networks have different numbers of these layers; give a number")
    rows = []
    for name, row in found:
        for seen in row:
            photograph = Cell(seen.pixels, None, f"{_short_name(name)}\n{seen.says}")
            strip = [_cell(seen, _size(layer), i) for i, layer in enumerate(seen.layers)]
            rows.append((seen.network.title, [photograph, *strip]))
    return ["photograph", *(f"map {i} of {most}" for i in range(1, most + 1))], rows


def _cell(seen: Seen, caption: str, index: int = 0) -> Cell:
    return Cell(seen.pixels, seen.maps[index], caption)


def _size(layer: FeatureMap) -> str:
    return f"{layer.path}\n{layer.channels} x {layer.height} x {layer.width}"


def _short_name(name: str) -> str:
    return "/".join(PurePosixPath(name).parts[-2:])
