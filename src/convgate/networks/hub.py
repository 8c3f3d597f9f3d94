"""The hub layout: a folder of config.json and model.safetensors that timm's own loader reads."""

import copy
import json
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from timm.models import save_for_hf
from torch import nn

import convgate.models  # noqa: F401  registers the names in timm
from convgate import spec
from convgate.errors import CorruptFile, InputError
from convgate.models.create import TORCHVISION
from convgate.networks.card import KEY, About, read_about
from convgate.networks.gated import GATED
from convgate.networks.preprocessing import spec_of_timm
from convgate.storage import check_new_folder, staging

CONFIG = "config.json"


def save_hub(model: nn.Module, about: About, folder: Path) -> None:
    """Write a folder from which `timm.create_model("local-dir:FOLDER", pretrained=True)` builds.

    The folder is loaded back by timm and its output compared, bit for bit, before it gets its
    name. A gated network is called "convgate_gated" there, with its backbone and gate as
    arguments: timm builds it where `convgate.deploy` is imported, and elsewhere says that the name
    is unknown, rather than leave the gate out.

    Args:
        model: The network, one of timm's or ours.
        about: What it is.
        folder: Where to; new or empty.

    Raises:
        InputError: for a network that timm does not build, a folder that holds something, or a
            network that came back another.
    """
    if about.model.startswith(TORCHVISION):
        bare = about.model.removeprefix(TORCHVISION)
        raise InputError(f"{about.model} is not in timm, which the hub layout is for; use {bare!r}")
    check_new_folder(folder)
    with staging(folder) as part:
        twin = copy.copy(model)
        twin.pretrained_cfg = _config(model, about)  # type: ignore[assignment]
        told: dict[str, Any] = {KEY: spec.to_table(about)}
        if about.classes:
            told["label_names"] = list(about.classes)
        save_for_hf(
            twin,
            str(part),
            model_config=told,
            model_args=_arguments(about),
            safe_serialization=True,
        )
        _check_same(model, part, about)
        part.replace(folder)


def load_hub(folder: Path) -> tuple[nn.Module, About]:
    """Build the network of a hub folder, ours or anybody's, in evaluation mode.

    Raises:
        InputError: for a network that timm does not know.
        CorruptFile: if a file is damaged, or the weights are another network's.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    except InputError:
        raise
    except (RuntimeError, OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CorruptFile(f"{folder}: timm cannot load it ({reason}); export it again") from None
    if KEY in config:
        return model, read_about(json.dumps(config[KEY]), folder / CONFIG)
    labels = config.get("label_names") or ()
    names = labels.values() if isinstance(labels, dict) else labels
    about = About(
        model=config["architecture"],
        weights=folder.name,
        classes=tuple(map(str, names)),
        images=spec_of_timm(model.pretrained_cfg),
    )
    return model, about


def _config(model: nn.Module, about: About) -> dict[str, Any]:
    """Return timm's record of the network with the images and name that ``about`` gives."""
    config: dict[str, Any] = dict(getattr(model, "pretrained_cfg", {}))
    if about.images is not None:
        shown = about.images
        config |= {"input_size": shown.input_size, "mean": shown.mean, "std": shown.std}
    if about.gate is not None:
        config["architecture"] = GATED
    return config | {"num_classes": model.num_classes}


def _arguments(about: About) -> dict[str, Any]:
    if about.gate is None:
        return about.options
    return {"base": about.model, "gate": spec.to_table(about.gate), **about.options}


def _check_same(model: nn.Module, folder: Path, about: About) -> None:
    again, _ = load_hub(folder)
    size = about.images.input_size if about.images else (3, 224, 224)
    x = torch.randn(2, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        if not torch.equal(again(x), model(x)):
            raise InputError(f"{about.name}: timm builds another network from its folder")
