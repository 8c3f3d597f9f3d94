"""Groups of parameters with rates and weight decays of their own.

timm groups the layers of its classifiers; ConvNeXt's detectors count the same layers otherwise.
"""

import re
from collections import defaultdict
from typing import Any

from timm.optim import param_groups_layer_decay, param_groups_weight_decay  # type: ignore[attr-defined]
from torch import nn

from convgate.errors import InputError
from convgate.train.parts import Parts
from convgate.train.sections import LrScale, OptimizerSpec

Group = dict[str, Any]
"""The ``params`` of a group, its ``weight_decay``, and ``lr_scale``, which a schedule obeys."""
_STAGE = re.compile(r"(?:stages\.|layers\.|layer)(\d+)\.(?:(?:blocks\.)?(\d+)\.)?")
_TOGETHER = 3  # blocks of the third stage that count as one layer


def parameter_groups(spec: OptimizerSpec, model: nn.Module) -> list[Group]:
    """Group what is trained by rate and weight decay, the highest rate first.

    A parameter's factor is that of its part, and in the backbone also its layer's. One-dimensional
    parameters, and those that a network of timm's names, are not decayed, unless ``decay_all``.
    """
    decayed = _weight_decays(spec, model)
    if spec.lr_scale == LrScale() and spec.layer_decay == 1:
        return decayed
    parts = Parts(model)
    layers = _layer_scales(spec, model, parts) if spec.layer_decay != 1 else {}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for group in decayed:
        for parameter in group["params"]:
            name = names[id(parameter)]
            part = parts.of(name.rpartition(".")[0])
            scale = getattr(spec.lr_scale, "backbone" if part == "norms" else part)
            if part in ("norms", "backbone"):
                scale *= layers.get(name, 1.0)
            groups[scale, group["weight_decay"]].append(parameter)
    ordered = sorted(groups.items(), key=lambda item: -item[0][0])
    return [
        {"params": parameters, "weight_decay": decay, "lr_scale": scale}
        for (scale, decay), parameters in ordered
    ]


def _weight_decays(spec: OptimizerSpec, model: nn.Module) -> list[Group]:
    spared: Any = getattr(model, "no_weight_decay", set)
    return param_groups_weight_decay(
        model,
        spec.weight_decay,
        weight_decay_exclude_1d=not spec.decay_all,
        no_weight_decay_list=set() if spec.decay_all else spared(),
    )


def _layer_scales(spec: OptimizerSpec, model: nn.Module, parts: Parts) -> dict[str, float]:
    """Return the factor of each parameter's layer, by its name."""
    if parts.body:
        body = model.get_submodule(parts.body.rstrip("."))
        return {f"{parts.body}{n}": s for n, s in layer_scales(body, spec.layer_decay).items()}
    if not hasattr(model, "group_matcher"):
        raise InputError(
            f"optimizer.layer_decay: {type(model).__name__} does not name its layers; use a "
            "network of timm's or ours, or set it to 1"
        )
    groups = param_groups_layer_decay(model, layer_decay=spec.layer_decay)
    scales = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    return {name: scales[id(p)] for name, p in model.named_parameters() if id(p) in scales}


def layer_scales(body: nn.Module, decay: float) -> dict[str, float]:
    """Return each parameter's factor: ``decay`` to the power of the layers above it.

    The stem is layer 0, stages 1 and 2 are layers 1 and 2, three blocks of stage 3 make a layer,
    and stage 4 is the last below the detector; what leads into a stage belongs to its first layer.
    Source: facebookresearch/ConvNeXt, object_detection: 6 layers for T, 12 for S and B.
    """
    places = {name: _place(name) for name, _ in body.named_parameters()}
    first = min((stage for stage, _ in filter(None, places.values())), default=0)
    placed = {name: (p[0] - first, p[1]) if p else None for name, p in places.items()}
    stages = {place[0] for place in placed.values() if place}
    if stages != {0, 1, 2, 3}:
        raise InputError(
            f"optimizer.layer_decay: {type(body).__name__} is not built of four stages; set it to 1"
        )
    depth = 1 + max(block for stage, block in filter(None, placed.values()) if stage == 2)
    last = 3 + -(-depth // _TOGETHER)
    return {name: decay ** (last + 1 - _layer(place, last)) for name, place in placed.items()}


def _place(name: str) -> tuple[int, int] | None:
    """Return stage and block of a parameter; None for one of the stem."""
    match = _STAGE.match(name)
    return (int(match[1]), int(match[2] or 0)) if match else None


def _layer(place: tuple[int, int] | None, last: int) -> int:
    if place is None:
        return 0
    stage, block = place
    return last if stage == 3 else stage + 1 + (block // _TOGETHER if stage == 2 else 0)
