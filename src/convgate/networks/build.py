"""Build a network from its description: backbone, gates, detector, weights to start from."""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from timm.layers.norm_act import convert_sync_batchnorm
from torch import nn

from convgate.errors import CorruptFile, InputError
from convgate.insertion import inserted
from convgate.models import create_model, load_weights
from convgate.models.checkpoint import read_weights
from convgate.models.create import TORCHVISION, classes_in
from convgate.networks.card import Card
from convgate.networks.gates import add_gate, backbone_of, gates_of, put_gates
from convgate.networks.specs import DetectorSpec, GateSpec, ModelSpec
from convgate.tasks.backbone import Backbone, create_backbone
from convgate.tasks.detect import create_detector
from convgate.tasks.segment import create_segmenter

_SOURCES = {
    "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir",
}  # fmt: skip
_told: set[str] = set()


def build_network(
    card: Card,
    start: ModelSpec | None = None,
    gates: Sequence[GateSpec] = (),
    *,
    seed: int = 0,
    drop_path: float = 0.0,
    synchronised: bool = False,
) -> nn.Module:
    """Build what a card describes, and put more gates in.

    All but the gates starts alike for every gate at one seed.

    Args:
        card: The network; its gates stand where they stood.
        start: What it starts from: of a card in a file, that file. Random by default.
        gates: More of them, as a recipe asks for them.
        seed: Of random weights.
        drop_path: Of the deepest block.
        synchronised: Batch norms see the batches of all processes.
    """
    if not card.model:
        raise InputError("the network was built by its owner, so it cannot be built from its file")
    if start is not None and start.pretrained and start.weights is not None:
        raise InputError(
            f"{start.name}: pretrained and weights={start.weights!r} are both given; keep one"
        )
    options = dict(card.options)
    check_sources(card.model, options)
    if drop_path:
        options["drop_path_rate"] = drop_path
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        build = _classifier if card.task == "classify" else _detector
        start = start or ModelSpec(name=card.model)
        network = build(card, options, start, gates, synchronised)
        if synchronised:
            _share_gate_statistics(network)
    return network


def check_sources(name: str, options: Mapping[str, Any]) -> None:
    """Ask that options of a network, which come from a file, name no other file to be read."""
    wrong = next((key for key in options if key in _SOURCES), None)
    if wrong:
        raise InputError(
            f"{name}: option {wrong!r} says where weights come from, which a description may not; "
            "leave it out, and give --pretrained or --weights FILE"
        )


def _classifier(
    card: Card,
    options: dict[str, Any],
    start: ModelSpec,
    gates: Sequence[GateSpec],
    synchronised: bool,
) -> nn.Module:
    own = dict(options)  # of the network that the weights are of
    if start.weights is not None:
        classes = classes_in(start.weights, card.model, options)
        own["num_classes"] = classes or start.weights_classes
    elif start.pretrained and card.model.startswith(TORCHVISION):
        own.pop("num_classes", None)
    model = _convert(create_model(card.model, pretrained=start.pretrained, **own), synchronised)
    put_gates(model, card.gates, card.model)
    if start.weights is not None:
        load_weights(model, start.weights)
    if own != options:
        model = _with_head(model, card, options)
    elif start.pretrained and _classes_of(model) != options.get("num_classes"):
        _zero_head_(model)
    _add_gates(model, gates, start)
    return model


def _with_head(model: Any, card: Card, options: dict[str, Any]) -> nn.Module:
    """Return the network with a new head for the classes in ``options``; it starts at zero."""
    if hasattr(model, "reset_classifier"):
        model.reset_classifier(options.get("num_classes"))
        _zero_head_(model)
        return model
    fresh = create_model(card.model, **options)
    put_gates(fresh, card.gates, card.model)
    head, body = fresh.state_dict(), model.state_dict()
    fresh.load_state_dict(
        {
            key: body[key] if body[key].shape == value.shape else torch.zeros_like(value)
            for key, value in head.items()
        }
    )
    return fresh


def _classes_of(model: nn.Module) -> int | None:
    """Return for how many classes timm's weights of a network were trained."""
    config: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    return config.get("num_classes")


def _zero_head_(model: Any) -> None:
    """Set a classifier's last layer to zero, as BiT does (arXiv 1912.11370, section 3.3).

    A new head of random weights sends noise into a backbone that has learned.
    """
    found = model.get_classifier()
    for layer in found if isinstance(found, (tuple, list)) else (found,):
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)


def _add_gates(model: nn.Module, gates: Sequence[GateSpec], start: ModelSpec) -> None:
    """Put in the gates that come to those of the file that the network starts from."""
    for gate in gates:
        before = set(model.state_dict())
        add_gate(model, gate.settled(learned=start.is_learned))
        if start.is_learned and gate.start == "paper" and not gate.replaces:
            _tell_of_paper(gate.name, start, set(model.state_dict()) - before)


def _tell_of_paper(gate: str, start: ModelSpec, keys: Collection[str]) -> None:
    """Say once that a gate changes a learned network, unless the file has the gate's weights."""
    own = {key.removeprefix("backbone.body.") for key in keys}
    if start.weights is not None and own & read_weights(start.weights).keys():
        return
    text = (
        f"{gate} starts as its paper says in a network with learned weights, and changes what it "
        "computes before the first step; start = identity keeps that as it is"
    )
    if text not in _told:
        _told.add(text)
        logging.getLogger("convgate").warning(text)


def _detector(
    card: Card,
    options: dict[str, Any],
    start: ModelSpec,
    gates: Sequence[GateSpec],
    synchronised: bool,
) -> nn.Module:
    if card.detector is None:
        raise InputError(f"the task is {card.task}, and nothing says which detector to use")
    if start.pretrained:
        options = options | {"pretrained": True}
    model = assemble_detector(
        card.task, card.model, options, card.detector, num_classes=len(card.classes)
    )
    model = _convert(model, synchronised)
    of_classifier = start.weights is not None  # whose parts are those of the body
    put_gates(backbone_of(model).body if of_classifier else model, card.gates, card.model)
    loaded = False
    if start.weights is not None and any(gate.replaces for gate in gates):
        loaded = _loads_before(backbone_of(model), start.weights)
    _add_gates(model, gates, start)
    if start.weights is not None and not loaded:
        backbone_of(model).load(start.weights)
    return model


def _loads_before(backbone: Backbone, path: str) -> bool:
    """Load what a gate is to replace; False where the file has the weights of the gate itself."""
    try:
        backbone.load(path)
    except CorruptFile:
        raise
    except InputError:
        return False
    return True


def assemble_detector(
    task: str, name: str, options: dict[str, Any], detector: DetectorSpec, *, num_classes: int
) -> nn.Module:
    """Put a detector or a segmenter on its backbone, without weights and gates."""
    backbone = create_backbone(name, **{**options, **detector.backbone})
    if task == "segment":
        return create_segmenter(
            detector.name, backbone, num_classes=num_classes + 1, **detector.options
        )
    return create_detector(detector.name, backbone, num_classes=num_classes, **detector.options)


def describe(model: nn.Module) -> Card:
    """Return the card of a classifier that its caller built, with an empty name where none fits.

    A network of timm's or ours, with gates from `insert` and `replace`, can be built again from its
    card; that is tried, and its keys and shapes compared.
    """
    config: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    classes = getattr(model, "num_classes", None)
    options: dict[str, object] = {} if classes is None else {"num_classes": classes}
    conv = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if conv is not None and conv.in_channels != 3:
        options["in_chans"] = conv.in_channels
    card = Card(model=config.get("architecture", ""), options=options, gates=gates_of(model))
    try:
        twin = build_network(card)
    except (InputError, TypeError, RuntimeError):
        return Card(gates=card.gates)
    same = _shapes(twin) == _shapes(model)
    return card if same else Card(gates=card.gates)


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in model.state_dict().items()}


def _convert(model: nn.Module, synchronised: bool) -> nn.Module:
    # Before the gates come, for it builds norms anew and drops the hooks on them.
    return convert_sync_batchnorm(model) if synchronised else model  # type: ignore[no-untyped-call]


def _share_gate_statistics(model: nn.Module) -> None:
    """Let the batch norms inside the gates see the batches of all processes."""
    for _, gate, _ in inserted(model):
        convert_sync_batchnorm(gate)  # type: ignore[no-untyped-call]
