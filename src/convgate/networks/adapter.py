"""Adapters: what was trained on a frozen network, in a small file that needs the network's weights.

An adapter's file holds the tensors of its head, its gates and its norms. The others come from the
weights that it was trained on, told by their fingerprint.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convgate.errors import CorruptFile, InputError
from convgate.models import create_model
from convgate.models.checkpoint import read_weights
from convgate.networks.build import build_network
from convgate.networks.card import Card, save_network
from convgate.networks.origin import origin_of
from convgate.networks.specs import BaseSpec, ModelSpec

Weights = Mapping[str, Tensor]


def save_adapter(
    path: Path, weights: Weights, card: Card, own: Collection[str], start: ModelSpec
) -> None:
    """Write an adapter in one step.

    Args:
        path: The file.
        weights: Of the whole network.
        card: Of the whole network.
        own: The tensors that were trained; the others are those of the base.
        start: What the network started from.
    """
    below = {name: tensor for name, tensor in weights.items() if name not in own}
    base = BaseSpec(
        weights=origin_of(start), pretrained=start.pretrained, fingerprint=fingerprint(below)
    )
    kept = {name: tensor for name, tensor in weights.items() if name in own}
    save_network(path, kept, replace(card, base=base))


def fingerprint(weights: Weights) -> str:
    """Return the SHA-256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def apply_adapter(
    path: Path, own: Weights, card: Card, base: str | Path | None = None
) -> tuple[nn.Module, Card]:
    """Build the whole network of an adapter, and its card.

    Args:
        path: Its file, to be named in an error.
        own: Its tensors.
        card: Its card.
        base: A file with the weights that it was trained on; the library's by default.

    Raises:
        InputError: for other weights, or another network.
    """
    needs = card.base
    assert needs is not None
    if base is None and not needs.pretrained:
        raise InputError(
            f"{path}: is an adapter of the weights {needs.weights}; give them with --weights FILE"
        )
    given = needs.weights if base is None else str(base)
    found = _library_weights(card) if base is None else read_weights(base)
    model = build_network(card)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if not own.keys() <= shapes.keys():
        raise CorruptFile(
            f"{path}: does not fit its own description ({min(own.keys() - shapes.keys())})"
        )
    whole = {**{name: found[name] for name in shapes if name in found}, **own}
    if any(name not in whole or whole[name].shape != shape for name, shape in shapes.items()):
        raise InputError(
            f"{path}: is an adapter of {card.model}, and {given} holds another network; give the "
            f"weights {needs.weights}"
        )
    below = {name: tensor for name, tensor in whole.items() if name not in own}
    if fingerprint(below) != needs.fingerprint:
        raise InputError(
            f"{path}: is an adapter of {needs.weights}, and the weights of {given} are others; "
            "give those that it was trained on"
        )
    model.load_state_dict(whole)
    return model, replace(card, base=None)


def _library_weights(card: Card) -> Weights:
    options: dict[str, Any] = {k: v for k, v in card.options.items() if k != "num_classes"}
    return create_model(card.model, pretrained=True, **options).state_dict()
