"""The hub layout: a folder of config.json and model.safetensors that timm's own loader reads.

A gated network is one more name of timm's, `convgate_gated`, so that its loader builds it.
"""

import copy
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from timm.models import load_pretrained, register_model, resolve_pretrained_cfg, save_for_hf
from torch import nn

import convgate.models  # noqa: F401  registers the names in timm
from convgate import spec
from convgate.errors import CorruptFile, InputError
from convgate.measure.settings import noise
from convgate.models.create import PICKLE, TORCHVISION, is_pickle
from convgate.networks.build import check_sources
from convgate.networks.card import CONFIG, KEY, Card, read_card
from convgate.networks.gates import put_gates
from convgate.networks.preprocessing import of_timm
from convgate.networks.specs import PlacedGate
from convgate.pictures.archives import read_file
from convgate.storage import check_new_folder, flush, staging

GATED = "convgate_gated"
_MAX_CONFIG_BYTES = 1 << 24


@register_model
def convgate_gated(
    pretrained: bool = False,
    *,
    base: str = "",
    gates: list[dict[str, Any]] | None = None,
    pretrained_cfg: Any = None,
    pretrained_cfg_overlay: Any = None,
    **kwargs: Any,
) -> nn.Module:
    """Build a backbone with its gates; a hub folder of `save_hub` names this and its arguments."""
    if not base or not gates:
        raise InputError(f"{GATED} is built from a folder: timm.create_model('local-dir:FOLDER')")
    if kwargs.pop("features_only", False):
        raise InputError(f"{base} with a gate has no features_only form; use forward_intermediates")
    record: Any = resolve_pretrained_cfg(GATED, pretrained_cfg, pretrained_cfg_overlay)
    source = record.to_dict()
    kwargs = {k: v for k, v in kwargs.items() if k not in ("cache_dir", "pretrained_model_args")}
    kwargs = {"num_classes": source["num_classes"], **kwargs}
    model: Any = timm.create_model(base, **kwargs)
    for gate in gates:
        put_gates(model, [spec.parse(PlacedGate, gate, name=GATED)], base)
    model.pretrained_cfg = model.default_cfg = source
    if pretrained:
        channels = kwargs.get("in_chans", 3)
        load_pretrained(model, source, num_classes=model.num_classes, in_chans=channels)
    return model


def save_hub(model: nn.Module, card: Card, folder: Path) -> None:
    """Write a folder from which `timm.create_model("local-dir:FOLDER", pretrained=True)` builds.

    The folder is loaded back by timm and its output compared, bit for bit, before it gets its
    name. A gated network is called "convgate_gated" there, with its backbone and gates as
    arguments: timm builds it where `convgate.networks` is imported, and elsewhere says that the
    name is unknown, rather than leave the gates out.

    Raises:
        InputError: for a network that timm does not build, a folder that holds something, or a
            network that came back another.
    """
    if card.task != "classify":
        raise InputError(f"{card.name} is made to {card.task}; the hub layout is for classifiers")
    if card.model.startswith(TORCHVISION):
        bare = card.model.removeprefix(TORCHVISION)
        raise InputError(f"{card.model} is not in timm, which the hub layout is for; use {bare!r}")
    check_new_folder(folder)
    with staging(folder) as part:
        twin = copy.copy(model)
        twin.pretrained_cfg = _config(model, card)  # type: ignore[assignment]
        entries: dict[str, Any] = {KEY: spec.to_table(card)}
        if card.classes:
            entries["label_names"] = list(card.classes)
        with _system_errors(folder):
            save_for_hf(
                twin,
                str(part),
                model_config=entries,
                model_args=_arguments(card),
                safe_serialization=True,
            )
        _check_same(model, part, card)
        for path in part.iterdir():  # the weights come readable for their owner alone
            path.chmod((part / CONFIG).stat().st_mode)
            flush(path)
        part.replace(folder)


@contextmanager
def _system_errors(folder: Path) -> Iterator[None]:
    """Give the system's own error where safetensors wraps it in a text."""
    try:
        yield
    except SafetensorError as error:
        found = re.search(r"os error (\d+)", str(error))
        if found is None:
            raise
        number = int(found[1])
        raise OSError(number, os.strerror(number), str(folder)) from None


def load_hub(folder: Path) -> tuple[nn.Module, Card]:
    """Build the network of a hub folder, ours or anybody's, in evaluation mode.

    Raises:
        InputError: for a network that timm does not know.
        CorruptFile: if a file is damaged, or the weights are another network's.
    """
    config = _read_config(folder)
    try:
        model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        return model, _card(config, model, folder)
    except InputError as error:
        if str(folder) in str(error):
            raise
        raise InputError(f"{folder}: {error}") from None
    except Exception as error:  # what is wrong with a description can fail anywhere in timm
        if is_pickle(error):
            raise CorruptFile(f"{folder}: {PICKLE}") from None
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CorruptFile(f"{folder}: timm cannot load it ({reason}); export it again") from None


def hub_card(folder: Path) -> Card:
    """Return the card of a hub folder; of anybody's, what its network tells once it is built.

    Raises:
        InputError, CorruptFile: as `load_hub`.
    """
    return _own_card(_read_config(folder), folder) or load_hub(folder)[1]


def _own_card(config: dict[str, Any], folder: Path) -> Card | None:
    return read_card(json.dumps(config[KEY]), folder / CONFIG) if KEY in config else None


def _card(config: dict[str, Any], model: Any, folder: Path) -> Card:
    own = _own_card(config, folder)
    if own is not None:
        return own
    labels = config.get("label_names") or ()
    names = labels.values() if isinstance(labels, dict) else labels
    return Card(
        model=config["architecture"],
        options={"num_classes": model.num_classes},
        weights=folder.name,
        classes=tuple(map(str, names)),
        images=of_timm(model.pretrained_cfg),
    )


def _read_config(folder: Path) -> dict[str, Any]:
    """Read a folder's description as far as it has to be trusted before timm builds from it."""
    path = folder / CONFIG
    try:
        config = json.loads(read_file(path, _MAX_CONFIG_BYTES))
    except (ValueError, RecursionError):
        config = None
    arguments = config.get("model_args") or {} if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(arguments, dict):
        raise CorruptFile(f"{path}: its description is damaged; export it again")
    name = arguments.get("base", config.get("architecture"))
    if not isinstance(name, str) or not timm.is_model(name.partition(".")[0]):
        raise InputError(f"{path}: timm knows no network {name!r}")
    check_sources(f"{path}: {name}", arguments)
    return config


def _config(model: nn.Module, card: Card) -> dict[str, Any]:
    """Return timm's record of the network with the images and name that its card gives."""
    config: dict[str, Any] = dict(getattr(model, "pretrained_cfg", {}))
    if card.images is not None:
        shown = card.images
        config |= {"input_size": shown.input_size, "mean": shown.mean, "std": shown.std}
    if card.gates:
        config["architecture"] = GATED
    return config | {"num_classes": model.num_classes}


def _arguments(card: Card) -> dict[str, Any]:
    if not card.gates:
        return card.options
    gates = [spec.to_table(gate) for gate in card.gates]
    return {"base": card.model, "gates": gates, **card.options}


def _check_same(model: nn.Module, folder: Path, card: Card) -> None:
    again, _ = load_hub(folder)
    size = card.images.input_size if card.images else (3, 224, 224)
    x = noise(size, 2)
    with torch.inference_mode():
        if not torch.equal(again(x), model(x)):
            raise InputError(f"{card.name}: timm builds another network from its folder")
