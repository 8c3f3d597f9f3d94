"""What the page asks for: answers of networks on a picture, and the cost of gates in stages."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

from PIL import Image
from torch import Tensor, nn

from convgate.charts import chart_svg
from convgate.deploy.engines import EngineConfig
from convgate.deploy.predict import classify
from convgate.errors import InputError, unknown
from convgate.folding import fold
from convgate.gates import list_gates
from convgate.insertion import insert, inserted, list_sites, remove
from convgate.measure import LatencyReport, LatencyRow, count
from convgate.measure.settings import noise
from convgate.networks import Network, check_task, open_networks
from convgate.networks.card import check_learned
from convgate.pages import data_url, file_bytes
from convgate.pictures.decoding import decode, shrink
from convgate.tables import short_number
from convgate.view.cam import compare_maps
from convgate.view.cam_picture import tile_url
from convgate.view.scales import choose_layers, draw_scales, find_gates, measure_scales

MAX_COLUMNS = 4
THUMBNAIL_PX = 320
PLAIN, GATED = "plain", "with gates"


@dataclass
class Workbench:
    """Networks that stand ready, and what was measured of them.

    One call works at a time: a measurement beside another would time both.
    """

    networks: Sequence[Network]  # the columns, the first one the base of their latency
    latency: LatencyReport  # of the columns, in their order
    plain: nn.Module  # the first network without inserted gates; gates are moved on it
    blocks: Mapping[int, int]  # stage -> how many blocks of the plain network a gate can end
    left_out: Sequence[str]  # why a network has no folded copy
    config: EngineConfig
    seconds: float  # for each measurement
    examples: Sequence[tuple[str, Image.Image]] = ()
    costs: dict[tuple[tuple[int, str], ...], dict[str, Any]] = field(default_factory=dict)
    turn: Lock = field(default_factory=Lock)

    def see(self, image: Image.Image) -> list[dict[str, Any]]:
        """Return what each network says of a picture, in JSON types."""
        with self.turn:
            return [answer(network, image) for network in self.networks]

    def see_file(self, data: bytes) -> list[dict[str, Any]]:
        """Do the same for the bytes of a picture's file.

        Raises:
            InputError: if they are no picture.
        """
        try:
            image = decode(data, "this file")
        except InputError as error:
            reason = str(error).partition(";")[0]
            raise InputError(f"{reason}; choose another picture") from None
        return self.see(image)

    def thumbnail(self, index: int) -> bytes:
        """Return an example as the bytes of a JPEG file."""
        return file_bytes(shrink(self.examples[index][1], THUMBNAIL_PX), "JPEG")

    def cost(self, gates: Mapping[int, str]) -> dict[str, Any]:
        """Return what a gate in each of these stages costs over the plain network.

        Raises:
            InputError: for a stage that the network does not have, an unknown gate, or one that
                does not fit.
        """
        chosen = tuple(sorted(gates.items()))
        for stage, gate in chosen:
            if stage not in self.blocks:
                raise unknown("stage", str(stage), map(str, self.blocks))
            if gate not in list_gates():
                raise unknown("gate", gate, list_gates())
        with self.turn:
            if chosen not in self.costs:
                self.costs[chosen] = self._cost(dict(chosen))
            return self.costs[chosen]

    def _cost(self, gates: dict[int, str]) -> dict[str, Any]:
        gated = copy.deepcopy(self.plain)
        x = _noise(self.networks[0])
        if gates:
            insert(gated, gates, start="identity", example_input=x)
        before, after = (count(model, x) for model in (self.plain, gated))
        report = self.config.compare({PLAIN: self.plain, GATED: gated}, x, seconds=self.seconds)
        row = report.row(GATED)
        return {
            "gates": ", ".join(f"{stage} = {gate}" for stage, gate in gates.items()) or "none",
            "params": f"{after.params - before.params:+,}",
            "macs": f"{after.macs - before.macs:+,}",
            "latency": described(row),
            "warnings": list(report.warnings),
            "recipe": _recipe(gates),
        }


def described(row: LatencyRow) -> str:
    """Return e.g. "12.3 ms, 1.04x [1.02, 1.06]"."""
    own = f"{short_number(row.median_ms)} ms"
    if row.verdict == "base":
        return f"{own}, the base"
    return f"{own}, {row.ratio:.3f}x [{row.ratio_low:.3f}, {row.ratio_high:.3f}]"


def open_workbench(
    refs: Sequence[str],
    *,
    gate: str = "se",
    examples: Sequence[tuple[str, Image.Image]] = (),
    config: EngineConfig | None = None,
    seconds: float = 4.0,
    progress: Callable[[str, float | None], None] | None = None,
    **options: Any,
) -> Workbench:
    """Open networks, add what belongs beside them, and measure all once.

    A lone network without gates gets a copy beside it with ``gate`` at the end of every block,
    which starts as the identity. Networks with gates are followed by their folded copies, as far
    as four columns hold them.

    Args:
        refs: What `open_network` takes; one to four.
        gate: The gate beside a lone plain network.
        examples: Names and pictures that the page offers.
        config: The engine that latency is measured on; eager torch by default.
        seconds: For each measurement.
        progress: Told what is done, and its share.
        options: Of `open_network`: pretrained, weights, image_px, device.

    Raises:
        InputError: for more than four networks, one that cannot be opened or is no classifier, or
            random weights.
    """
    if len(refs) > MAX_COLUMNS:
        raise InputError(f"{len(refs)} networks are given; the page holds {MAX_COLUMNS} at most")
    networks = open_networks(refs, **options)
    for network in networks:
        check_task(network, "classify", "the page")
        check_learned(network.card, network.ref)
    if len(networks) == 1 and not _gated(networks[0]):
        networks.append(_with_gate(networks[0], gate))
    columns, left_out = _with_folded(networks)
    first, config = columns[0], config or EngineConfig()
    models = {network.label: network.model for network in columns}
    latency = config.compare(models, _noise(first), seconds=seconds, on_progress=progress)
    plain = copy.deepcopy(first.model)
    remove(plain)
    blocks = _blocks(plain, first)
    return Workbench(columns, latency, plain, blocks, left_out, config, seconds, examples)


def sample_pictures(data: Path | None, most: int = 6) -> list[tuple[str, Image.Image]]:
    """Return pictures of a folder or archive at even steps; without one, scikit-learn's two."""
    if data is None:
        from sklearn.datasets import load_sample_images

        found = load_sample_images()
        pictures = map(Image.fromarray, found.images)
        return [(Path(n).name, p) for n, p in zip(found.filenames, pictures, strict=True)]
    from convgate.pictures.folders import find_pictures

    files = find_pictures(data, count=most, skip_bad=True)
    return [(Path(name).name, files.load(i)) for i, name in enumerate(files.names)]


def _gated(network: Network) -> bool:
    return any(True for _ in inserted(network.model))


def _with_gate(network: Network, gate: str) -> Network:
    model = copy.deepcopy(network.model)
    insert(model, gate, start="identity", example_input=network.example())
    return replace(network, model=model, label=f"{network.label} + {gate}")


def _with_folded(networks: Sequence[Network]) -> tuple[list[Network], list[str]]:
    columns: list[Network] = []
    left_out: list[str] = []
    room = MAX_COLUMNS - len(networks)
    for network in networks:
        columns.append(network)
        if not _gated(network) or not room:
            continue
        try:
            model = fold(network.model, _noise(network))
        except InputError as error:
            left_out.append(f"{network.label} folded: {error}")
            continue
        columns.append(replace(network, model=model, label=f"{network.label} folded"))
        room -= 1
    return columns, left_out


def _blocks(model: nn.Module, network: Network) -> dict[int, int]:
    """Return how many blocks a gate can end in each stage; none where the network has none."""
    ends = [s for s in list_sites(model, network.example()) if s.name == "block_end"]
    stages = sorted({site.stage for site in ends})
    return {stage: sum(site.stage == stage for site in ends) for stage in stages}


def _noise(network: Network) -> Tensor:
    return noise(network.images.input_size).to(network.device)


def _recipe(gates: Mapping[int, str]) -> str:
    rows = [f'{stage} = "{gate}"' for stage, gate in gates.items()]
    return "\n".join(["[gate.stages]", *rows]) if rows else ""


def answer(network: Network, image: Image.Image) -> dict[str, Any]:
    """Return the classes, a class activation map, and the scales of the gates.

    The map or the scales are None where there are none; what cannot be drawn has a sentence
    under "note".
    """
    guesses = classify(network, image).classes
    rows = [(guess.label, f"{guess.probability:.1%}") for guess in guesses]
    found = {"rows": rows, "map": None, "scales": _scales(network, image), "note": ""}
    try:
        ((_, (maps,)),) = compare_maps([network], [("", image)])
    except InputError as error:
        return found | {"note": str(error)}
    return found | {"map": tile_url(maps.pixels, maps.maps[0])}


def _scales(network: Network, image: Image.Image) -> str | None:
    """Return a chart of the scales of at most four gates; None where no gate gives any."""
    if not find_gates(network.model):
        return None
    layers = choose_layers(measure_scales(network, [network.images.pixels(image)[None]]))
    if not layers:  # folding has taken the gates apart
        return None
    return data_url(chart_svg(draw_scales(layers, network.label)).encode(), "image/svg+xml")
