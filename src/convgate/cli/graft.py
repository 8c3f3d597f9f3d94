"""What `convgate insert` does: build, load, insert, compare, save."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convgate.cli.rivals import random_images
from convgate.errors import InputError
from convgate.insertion import InsertReport, insert
from convgate.insertion.trace import noted_size
from convgate.models import create_model, load_weights
from convgate.networks import Card, GateSpec, save_network
from convgate.networks.preprocessing import noted_images

SECONDS = 5.0  # of timing, after the warm-up


@dataclass(frozen=True)
class Graft:
    """What to insert where; it goes into the metadata of the saved weights.

    Args:
        model: A name that `create_model` knows.
        gate: A registered gate.
        at: A site or a pattern.
        stages: The stages; None for all.
        start: "identity" or "paper".
        options: The gate's options.
    """

    model: str
    gate: str
    at: str
    stages: tuple[int, ...] | None
    start: str
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parsed(
        cls, model: str, gate: str, at: str, stages: str, start: str, settings: Sequence[str]
    ) -> "Graft":
        """Read stages as in "2,3" and options as in "reduction=8".

        Raises:
            InputError: for words of another form.
        """
        words = [word.strip() for word in stages.split(",") if word.strip()]
        if not all(word.isdecimal() for word in words):
            raise InputError(f"--stages {stages!r} is no list of numbers; write it as in 2,3")
        chosen = tuple(map(int, words)) or None
        return cls(model, gate, at, chosen, start, dict(map(_setting, settings)))


def graft(
    wanted: Graft, weights: Path | None, image_px: int, measure: bool
) -> tuple[nn.Module, InsertReport, bool]:
    """Return the gated network, the report, and whether its output is bit for bit what it was.

    Args:
        wanted: What to insert where.
        weights: A checkpoint of the plain network to load before.
        image_px: Side of the images to run; 0 for the size that the network notes, or 224.
        measure: Also time the gates.

    Raises:
        InputError: as `create_model`, `load_weights` and `insert` do.
    """
    network = create_model(wanted.model).eval()
    if weights is not None:
        load_weights(network, weights)
    noted = noted_size(network)
    images = random_images(1, image_px or (noted[-1] if noted else 224), "cpu")
    before = _run(network, images)
    report = insert(
        network,
        wanted.gate,
        at=wanted.at,
        stages=wanted.stages,
        start=wanted.start,  # type: ignore[arg-type]
        example_input=images,
        **wanted.options,
    )
    unchanged = torch.equal(_run(network, images), before)
    if measure:
        report = report.measure(network, images, seconds=SECONDS)
    return network, report, unchanged


def save(path: Path, network: nn.Module, wanted: Graft, weights: Path | None) -> None:
    """Write the weights in one step, and with them what was inserted where.

    Raises:
        InputError: if the folder does not exist.
    """
    if not path.parent.is_dir():
        raise InputError(f"--out {path}: there is no folder {path.parent}; create it")
    gate = GateSpec(
        name=wanted.gate,
        at=wanted.at,
        stages=wanted.stages,
        start=wanted.start,  # type: ignore[arg-type]
        options=wanted.options,
    )
    images = noted_images(network, wanted.model)
    origin = weights.name if weights else "random"
    card = Card(model=wanted.model, gates=(gate,), images=images, weights=origin)
    save_network(path, network.state_dict(), card)


def _setting(word: str) -> tuple[str, Any]:
    name, equals, value = word.partition("=")
    if not equals:
        raise InputError(f"--set {word!r} has no value; write it as in reduction=8")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _run(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network(images)
