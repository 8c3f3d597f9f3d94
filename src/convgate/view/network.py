"""The networks that are looked at: by name, or as a run left them, with their own preprocessing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.data.imagenet_info import ImageNetInfo
from torch import Tensor, nn
from torchvision.transforms.v2.functional import rgb_to_grayscale

from convgate.errors import InputError
from convgate.insertion.trace import noted_size
from convgate.models import create_model, library_of
from convgate.train.recipe import GateSpec
from convgate.train.trained import read_trained

IMAGENET_CLASSES = 1000
IMAGENET_PX = 224


@dataclass(frozen=True)
class Network:
    """A network with what it needs to be shown a picture.

    Args:
        label: What stands in the picture.
        model: In eval mode, on its device.
        image_px: Height and width of what it sees.
        mean: Of each channel, in 0 .. 1.
        std: Of each channel, in 0 .. 1.
        classes: The names of its outputs; empty where they are not known.
        trained: False for random weights.
    """

    label: str
    model: nn.Module
    image_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]
    trained: bool

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def title(self) -> str:
        """The label, and a word where the weights are random."""
        return self.label if self.trained else f"{self.label} (untrained weights)"

    def normalise(self, pixels: Tensor) -> Tensor:
        """Turn RGB uint8 (N, 3, H, W) into what the network takes, on its device."""
        x = pixels.to(self.device).float() / 255
        if len(self.mean) == 1:
            x = rgb_to_grayscale(x)
        mean = torch.tensor(self.mean, device=self.device)[:, None, None]
        std = torch.tensor(self.std, device=self.device)[:, None, None]
        return (x - mean) / std

    def example(self) -> Tensor:
        """Return a picture without content, as the network takes it."""
        size = (1, len(self.mean), self.image_px, self.image_px)
        return torch.zeros(size, device=self.device)

    def class_name(self, index: int) -> str:
        return self.classes[index] if self.classes else f"class {index}"


def open_networks(
    names: Sequence[str],
    *,
    pretrained: bool = False,
    image_px: int = 0,
    device: torch.device | str = "cpu",
) -> list[Network]:
    """Build the networks that a command line names.

    Args:
        names: Each a name of `convgate ls models`, or the folder or weights file of a finished run.
        pretrained: Fetch the library's weights for those given by name; random ones otherwise.
        image_px: Height and width of what they see; their own where 0.
        device: Where they run.

    Raises:
        InputError: for a name or run that does not exist, or one given twice.
    """
    if not names:
        raise InputError("no network is named; give --model")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"model {twice!r} is given twice; give each model once")
    if image_px < 0:
        raise InputError(f"image_px={image_px} leaves no image; give at least 1")
    networks = [_open_run(n) if _is_run(n) else _open_name(n, pretrained) for n in names]
    labels = [network.label for network in networks]
    opened = []
    for network, name in zip(networks, names, strict=True):
        network.model.to(device).eval()
        alone = labels.count(network.label) == 1
        label = network.label if alone else _told_apart(network, name)
        opened.append(replace(network, label=label, image_px=image_px or network.image_px))
    if image_px:
        for network in opened:
            _check_size(network)
    return opened


def _check_size(network: Network) -> None:
    try:
        with torch.inference_mode():
            network.model(network.example())
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{network.label} cannot take pictures of {network.image_px} px ({reason}); "
            "leave --image-px out"
        ) from error


def _is_run(name: str) -> bool:
    """Tell a path from a name; "./resnet50" is the folder where there is one of that name."""
    if name.startswith("torchvision/"):
        return False
    if "/" in name or "\\" in name or name.endswith(".safetensors"):
        return True
    return Path(name).exists() and not _is_known(name)


def _is_known(name: str) -> bool:
    try:
        library_of(name)
    except InputError:
        return False
    return True


def _open_name(name: str, pretrained: bool) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the same random weights every time
        model = create_model(name, pretrained=pretrained)
    cfg: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    size = noted_size(model)
    outputs = cfg.get("num_classes", IMAGENET_CLASSES)
    return Network(
        name,
        model,
        size[-1] if size else IMAGENET_PX,
        tuple(cfg.get("mean", IMAGENET_DEFAULT_MEAN)),
        tuple(cfg.get("std", IMAGENET_DEFAULT_STD)),
        _imagenet_names() if pretrained and outputs == IMAGENET_CLASSES else (),
        pretrained,
    )


def _imagenet_names() -> tuple[str, ...]:
    info = ImageNetInfo()
    return tuple(
        info.index_to_description(index).partition(",")[0] for index in range(IMAGENET_CLASSES)
    )


def _open_run(path: str) -> Network:
    trained = read_trained(path)
    if trained.in_chans not in (1, 3):
        raise InputError(f"{path}: takes {trained.in_chans} channels; pictures have 1 or 3")
    mean, std = trained.statistics()
    recipe = trained.recipe
    label = recipe.model.name + _gate_words(recipe.gate)
    px = recipe.data.image_px
    return Network(label, trained.network(), px, mean, std, trained.classes, trained=True)


def _gate_words(gate: GateSpec | None) -> str:
    if gate is None:
        return ""
    return f" without {gate.replaces}" if gate.name == "none" else f" + {gate.name}"


def _told_apart(network: Network, name: str) -> str:
    path = Path(name)
    return f"{network.label} ({path.parent.name if path.is_file() else path.name})"
