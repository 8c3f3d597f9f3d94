"""Open what can be shipped: a run, a gated weights file, a hub folder, or a network by name."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from convgate import spec
from convgate.errors import CorruptFile, InputError
from convgate.models import create_model
from convgate.models import load_weights as load_into
from convgate.models.create import TORCHVISION
from convgate.networks.card import About
from convgate.networks.hub import CONFIG, load_hub
from convgate.networks.labels import imagenet_classes
from convgate.networks.preprocessing import ImageSpec, spec_of_timm, spec_of_torchvision
from convgate.storage import load_weights
from convgate.train.build import add_gate
from convgate.train.recipe import GateSpec
from convgate.train.trained import Trained, read_trained

FILES = (".safetensors", ".pth", ".pt", ".onnx", ".xml")


@dataclass(frozen=True)
class Source:
    """A network in evaluation mode, and what is known of it."""

    model: nn.Module
    about: About


def open_source(
    name: str,
    *,
    weights: Path | None = None,
    pretrained: bool = False,
    data: Path | None = None,
) -> Source:
    """Open a network to ship.

    Args:
        name: The folder of a finished run or its weights file; a file that `convgate insert`
            saved; a hub folder; or a name of `list_models()`.
        weights: For a name: a checkpoint to load.
        pretrained: For a name: fetch the library's default weights.
        data: For a run that did not note its images' mean and deviation: where its data lies.

    Raises:
        InputError: for what is none of these, or options that do not go with it.
        CorruptFile: for a damaged file.
    """
    path = Path(name)
    if not path.exists():
        return _by_name(name, weights, pretrained)
    if weights is not None or pretrained:
        raise InputError(f"{path}: has its own weights; do without other ones")
    if path.is_dir() and (path / CONFIG).is_file():
        return Source(*load_hub(path))
    if path.is_file():
        _, metadata = load_weights(path)
        if "insert" in metadata:
            return _gated(path, metadata["insert"])
    return _run(read_trained(path, data))


def _run(trained: Trained) -> Source:
    network, recipe = trained.network(), trained.recipe
    mean, std = trained.statistics()
    side = recipe.data.image_px
    channels = {} if trained.in_chans == 3 else {"in_chans": trained.in_chans}
    about = About(
        model=recipe.model.name,
        options={"num_classes": len(trained.classes), **recipe.model.options, **channels},
        gate=recipe.gate,
        weights=f"trained on {recipe.data.name}",
        classes=trained.classes,
        images=ImageSpec(
            input_size=(trained.in_chans, side, side), mean=mean, std=std, resize="square"
        ),
    )
    return Source(network, about)


def _gated(path: Path, text: str) -> Source:
    try:
        table = {key: value for key, value in json.loads(text).items() if value is not None}
        model, name = table.pop("model"), table.pop("gate")
    except (AttributeError, KeyError, ValueError) as error:
        raise CorruptFile(f"{path}: its description is damaged ({error!r})") from None
    gate = spec.parse(GateSpec, {**table, "name": name}, name=str(path))
    network = create_model(model)
    add_gate(network, gate)
    load_into(network, path)
    about = About(
        model=model,
        gate=gate,
        weights=path.name,
        classes=imagenet_classes(network, model),
        images=noted_images(network, model),
    )
    return Source(network.eval(), about)


def _by_name(name: str, weights: Path | None, pretrained: bool) -> Source:
    if name.startswith((".", "/", "~")) or name.endswith(FILES):
        raise InputError(f"{name}: there is no such file or folder")
    network = create_model(name, pretrained=pretrained, checkpoint_path=weights)
    origin = weights.name if weights else "the library's own" if pretrained else "random"
    classes = imagenet_classes(network, name) if weights or pretrained else ()
    about = About(model=name, weights=origin, classes=classes, images=noted_images(network, name))
    return Source(network.eval(), about)


def noted_images(network: nn.Module, name: str) -> ImageSpec | None:
    """Return what the library notes of a network's images; None where it notes nothing."""
    if name.startswith(TORCHVISION):
        return spec_of_torchvision(name)
    config: dict[str, Any] | None = getattr(network, "pretrained_cfg", None)
    return spec_of_timm(config) if config else None
