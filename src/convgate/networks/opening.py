"""One door for networks: a name, a run, a weights file or a hub folder becomes a `Network`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convgate.errors import CorruptFile, InputError
from convgate.models import create_model
from convgate.models.create import classes_in
from convgate.networks.adapter import apply_adapter
from convgate.networks.build import build_network
from convgate.networks.card import RANDOM, Card, is_hub, load_network, weights_file
from convgate.networks.hub import load_hub
from convgate.networks.labels import described, imagenet_classes, told_apart
from convgate.networks.origin import is_name, library_weights
from convgate.networks.preprocessing import Preprocessing, noted_images


@dataclass(frozen=True, repr=False)
class Network:
    """A network ready to be used, and what is known of it."""

    model: nn.Module  # in evaluation mode, on its device
    card: Card  # what it is
    ref: str  # what it was opened by
    label: str  # a short name for tables and pictures

    def __repr__(self) -> str:
        size = "x".join(map(str, self.card.images.input_size)) if self.card.images else "any size"
        count = sum(p.numel() for p in self.model.parameters())
        return f"Network({self.label}: {count:,} parameters, {size}, weights: {self.card.weights})"

    @property
    def title(self) -> str:
        """The label, and a word where the weights are random."""
        return f"{self.label} (random weights)" if self.card.is_random else self.label

    @property
    def images(self) -> Preprocessing:
        if self.card.images is None:
            raise InputError(
                f"{self.label}: nothing says how it takes a picture; use one of timm's or ours"
            )
        return self.card.images

    @property
    def image_px(self) -> int:
        return self.images.image_px

    @property
    def in_chans(self) -> int:
        return self.images.input_size[0]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.card.classes

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def example(self, batch: int = 1) -> Tensor:
        """Return images without content, (batch, C, H, W), on its device."""
        return torch.zeros(batch, *self.images.input_size, device=self.device)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Turn uint8 (N, C, H, W) into what it takes, on its device."""
        return self.images.normalise(pixels.to(self.device))

    def class_name(self, index: int) -> str:
        """Return what an output stands for, in words where ImageNet has them."""
        return described(self.classes[index]) if self.classes else f"class {index}"


def open_network(
    ref: str | Path,
    *,
    pretrained: bool = False,
    weights: str | Path | None = None,
    image_px: int = 0,
    device: torch.device | str = "cpu",
) -> Network:
    """Open a network by whatever a user has of it.

    Args:
        ref: A name of `list_models()`, also with a weights tag or as "torchvision/NAME"; the folder
            of a finished run; a .safetensors file that `train` or `insert` wrote; an adapter's, to
            which the weights that it was trained on are added; a hub folder.
        pretrained: For a name: fetch the library's default weights.
        weights: For a name: a checkpoint to load. For an adapter: a file with the weights that it
            was trained on, in the place of the library's.
        image_px: Height and width of its images; its own where 0.
        device: Where it runs.

    Raises:
        InputError: for what is none of these (saying what it is), or options that do not go with
            it.
        CorruptFile: for a damaged file.
    """
    name, path = str(ref), Path(ref)
    if image_px < 0:
        raise InputError(f"image_px={image_px} leaves no image; give at least 1")
    if is_name(name):
        network = _by_name(name, None if weights is None else Path(weights), pretrained)
    else:
        network = _by_path(path, weights, pretrained)
    network.model.to(device).eval()
    return resized(network, image_px) if image_px else network


def open_networks(refs: Sequence[str], **options: Any) -> list[Network]:
    """Open several networks, as `open_network` does, under labels that tell them apart.

    Where some are names, ``pretrained`` and ``weights`` are for these alone.
    """
    if not refs:
        raise InputError("no network is named; give --model")
    twice = next((ref for ref in refs if list(refs).count(ref) > 1), None)
    if twice is not None:
        raise InputError(f"model {twice!r} is given twice; give each model once")
    names = [ref for ref in refs if is_name(ref)] or refs
    own = {key: value for key, value in options.items() if key not in ("pretrained", "weights")}
    networks = [open_network(ref, **(options if ref in names else own)) for ref in refs]
    labels = told_apart([network.label for network in networks], refs)
    return [replace(network, label=label) for network, label in zip(networks, labels, strict=True)]


def check_task(network: Network, task: str, what: str) -> None:
    """Ask that a network was made for a task."""
    if network.card.task != task:
        raise InputError(
            f"{network.ref}: is made to {network.card.task}, and {what} takes networks that {task}"
        )


def _by_path(path: Path, base: str | Path | None, pretrained: bool) -> Network:
    if is_hub(path):
        _check_whole(path, base, pretrained)
        model, card = load_hub(path)
        return Network(model, card, str(path), card.name)
    file = weights_file(path)
    weights, card = load_network(file)
    if card.base is not None:
        model, card = apply_adapter(path, weights, card, base)
        return Network(model, card, str(path), card.name)
    _check_whole(path, base, pretrained)
    if not card.model:
        raise InputError(
            f"{path}: holds the weights of a network that its owner built in Python; open it there"
        )
    try:
        model = build_network(card)
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CorruptFile(f"{file}: does not fit its own description ({reason})") from None
    return Network(model, card, str(path), card.name)


def _check_whole(path: Path, base: str | Path | None, pretrained: bool) -> None:
    if base is not None or pretrained:
        raise InputError(f"{path}: has its own weights; do without --weights and --pretrained")


def _by_name(name: str, weights: Path | None, pretrained: bool) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the same random weights every time
        options = {} if weights is None else _classes_of(weights, name)
        model = create_model(name, pretrained=pretrained, checkpoint_path=weights, **options)
    outputs = getattr(model, "num_classes", None)  # torchvision's networks have 1000
    card = Card(
        model=name,
        options={} if outputs is None else {"num_classes": outputs},
        weights=_origin(name, weights, pretrained),
        classes=imagenet_classes(model, name) if weights or pretrained else (),
        images=noted_images(model, name),
    )
    return Network(model, card, name, name)


def _classes_of(weights: Path, name: str) -> dict[str, int]:
    """Return the option that gives a network as many outputs as its checkpoint has."""
    count = classes_in(weights, name, {})
    return {} if count is None else {"num_classes": count}


def _origin(name: str, weights: Path | None, pretrained: bool) -> str:
    if weights is not None:
        return weights.name
    return library_weights(name) if pretrained else RANDOM


def resized(network: Network, image_px: int) -> Network:
    """Return a network for square images of another size; InputError if it cannot take them."""
    other = replace(network, card=replace(network.card, images=network.images.with_size(image_px)))
    try:
        with torch.inference_mode():
            example = other.example()
            other.model(example if network.card.task == "classify" else [example[0]])
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{network.label} cannot take pictures of {image_px} px ({reason}); choose "
            "another --image-px"
        ) from error
    return other
