"""The networks that a command line names, gated or not, folded or not, and images for them."""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from convgate.cli.options import open_device
from convgate.errors import InputError
from convgate.folding import fold
from convgate.insertion import insert
from convgate.models import create_model


def build_rivals(
    models: Sequence[str], gates: Sequence[str], at: str, device: str
) -> dict[str, nn.Module]:
    """Return each model and, after it, the same model with each gate as the gate's paper has it.

    Raises:
        InputError: for a name that is unknown or given twice.
    """
    rivals: dict[str, nn.Module] = {}
    for name in models:
        if name in rivals:
            raise InputError(f"model {name!r} is given twice; give each model once")
        rivals[name] = create_model(name)
        for gate in gates:
            gated = copy.deepcopy(rivals[name])
            insert(gated, gate, at=at, start="paper")
            rivals[f"{name} + {gate}"] = gated
    return {name: model.to(open_device(device)) for name, model in rivals.items()}


def with_folded(rivals: Mapping[str, nn.Module], images: Tensor) -> dict[str, nn.Module]:
    """Return each network and, after it, its copy folded for inference on ``images``.

    Raises:
        InputError: for a network that `convgate.folding.fold` refuses.
    """
    both: dict[str, nn.Module] = {}
    for name, model in rivals.items():
        both |= {name: model, f"{name} folded": fold(model, images)}
    return both


def random_images(batch: int, image_px: int, device: str) -> Tensor:
    """Return the same normal noise every time: (batch, 3, image_px, image_px).

    Raises:
        InputError: if a size is not positive or the device does not exist.
    """
    if batch < 1 or image_px < 1:
        raise InputError(f"batch={batch} and image_px={image_px} leave no image; give at least 1")
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, 3, image_px, image_px, generator=generator).to(open_device(device))
