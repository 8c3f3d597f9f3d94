"""What a network starts from: random weights, those of its library, or those of a file."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from timm.models import get_pretrained_cfg

from convgate.errors import InputError
from convgate.models import library_of
from convgate.models.create import TORCHVISION
from convgate.networks.card import KEY, SUFFIXES, Card, is_hub, read_card, weights_file
from convgate.networks.hub import hub_card
from convgate.networks.preprocessing import Preprocessing, of_timm, of_torchvision
from convgate.networks.specs import ModelSpec, PlacedGate
from convgate.storage import load_metadata

RANDOM = "random weights"
HUB_WEIGHTS = "model.safetensors"


def is_name(ref: str) -> bool:
    """Tell a network's name from the path of its file or folder.

    Raises:
        InputError: for a path where nothing is.
    """
    if Path(ref).exists():
        return _is_no_path(ref) and _is_known(ref)
    if _looks_like_a_path(ref):
        raise InputError(f"{ref}: there is no such file or folder")
    return True


def _is_no_path(name: str) -> bool:
    """Tell whether a text has nothing of a path: "./resnet50" is a folder, "resnet50" a name."""
    return name.startswith(TORCHVISION) or not ("/" in name or "\\" in name)


def _is_known(name: str) -> bool:
    try:
        library_of(name)
    except InputError:
        return False
    return True


def _looks_like_a_path(name: str) -> bool:
    suffix = Path(name).suffix.lower()
    return not _is_no_path(name) or name.startswith((".", "~")) or suffix in SUFFIXES


def start_from(ref: str | Path, *, pretrained: bool = False) -> ModelSpec:
    """Return how a recipe starts from a network: its name, or the weights and gates of its file.

    With ``pretrained`` a name takes its library's weights; a file has its own.
    """
    name, path = str(ref), Path(ref)
    if is_name(name):
        library_of(name)
        return ModelSpec(name=name, pretrained=pretrained)
    file = path / HUB_WEIGHTS if is_hub(path) else weights_file(path)
    card = card_in(file) or read_card(None, file)
    if card.base is not None:
        raise InputError(
            f"{path}: is an adapter, and training starts from a whole network; export it first"
        )
    options = dict(card.options)
    outputs = options.pop("num_classes", None) or len(card.classes) or 1000
    return ModelSpec(
        name=card.model,
        options=options,
        weights=str(file),
        weights_classes=int(str(outputs)),
        gates=bool(card.gates),
    )


def another(
    own: ModelSpec,
    ref: str | Path = "",
    *,
    pretrained: bool = False,
    weights: str | Path | None = None,
) -> ModelSpec:
    """Return what to start from in the place of ``own``, a recipe's network.

    Where that is pretrained, so is another name. A file is never dropped for another name.

    Args:
        own: The recipe's.
        ref: As `start_from` takes it; ``own`` where empty.
        pretrained: Take the library's weights in place of the recipe's.
        weights: A file to load into the network by name, whose own gates and classes are kept.

    Raises:
        InputError: for weights that are given twice, or lost.
    """
    if pretrained and weights is not None:
        raise InputError("--pretrained and --weights both say what to start from; keep one")
    if not ref or str(ref) == own.name:
        found = own
        if pretrained:
            found = replace(own, pretrained=True, weights=None, gates=False)
    else:
        found = start_from(ref, pretrained=pretrained or (own.pretrained and weights is None))
        if pretrained and found.weights is not None:
            raise InputError(f"{ref}: has its own weights; do without --pretrained")
        lost = own.weights if weights is None and not found.is_learned else None
        if lost is not None:
            raise InputError(
                f"{ref}: would start from random weights, and the recipe's {own.name} starts from "
                f"{lost}; add --pretrained or --weights FILE"
            )
    return found if weights is None else _with_weights(found, Path(weights))


def _with_weights(network: ModelSpec, file: Path) -> ModelSpec:
    """Let a network by name start from a file, whose own gates and classes are kept."""
    if network.weights is not None:
        raise InputError(
            f"{network.name}: starts from {network.weights} already; do without --weights"
        )
    if not file.is_file():
        raise InputError(f"--weights {file}: there is no such file")
    if card_in(file) is None:
        return replace(network, pretrained=False, weights=str(file))
    found = start_from(file)
    if found.name != network.name:
        raise InputError(f"--weights {file}: holds {found.name}, not {network.name}")
    return found


def check_all_learned(networks: Iterable[ModelSpec]) -> None:
    """Ask that networks which are compared all start from weights, or none of them."""
    networks = list(networks)
    learned = next((n for n in networks if n.is_learned), None)
    random = next((n for n in networks if not n.is_learned), None)
    if learned is not None and random is not None:
        raise InputError(
            f"{random.name} would start from random weights beside {learned.name}, which starts "
            f"from {origin_of(learned)}; add --pretrained, or give a file of its weights as --model"
        )


def origin_of(start: ModelSpec) -> str:
    """Say in a few words what a network starts from."""
    if start.weights is not None:
        return "/".join(Path(start.weights).parts[-2:])
    return library_weights(start.name) if start.pretrained else RANDOM


def library_weights(name: str) -> str:
    """Name the weights that a library has for a name."""
    if name.startswith(TORCHVISION):
        return f"{name.removeprefix(TORCHVISION)} of torchvision"
    config: Any = get_pretrained_cfg(name)
    if config is None or not config.tag:
        return "the library's own"
    return f"{config.architecture}.{config.tag} of {config.file or 'timm'}"


def images_of(start: ModelSpec) -> Preprocessing | None:
    """Return how the pictures were prepared that the weights were learned on, if anything says.

    A file of convgate's says so itself; of any other what the library notes of the network holds.
    """
    if not start.is_learned:
        return None
    card = None if start.weights is None else card_in(Path(start.weights))
    if card is not None and card.images is not None:
        return card.images
    if start.name.startswith(TORCHVISION):
        return of_torchvision(start.name)
    config: Any = get_pretrained_cfg(start.name)
    return of_timm(config.to_dict()) if config is not None else None


def card_in(file: Path) -> Card | None:
    """Return the card of a file of weights, which are not read; None where nothing tells it.

    It stands in the file, or beside it in a hub folder.
    """
    if file.name == HUB_WEIGHTS and is_hub(file.parent):
        return hub_card(file.parent)
    text = load_metadata(file).get(KEY) if file.suffix == ".safetensors" else None
    return None if text is None else read_card(text, file)


def gates_in(start: ModelSpec) -> tuple[PlacedGate, ...]:
    """Return the gates of the file that a network starts from, where it says that they come."""
    card = card_in(Path(start.weights)) if start.gates and start.weights is not None else None
    return () if card is None else card.gates
