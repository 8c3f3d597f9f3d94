"""Parameters of a detector in groups of one rate and one weight decay."""

import re
from collections import defaultdict
from typing import Any

from torch import nn

from convgate.errors import InputError
from convgate.tasks.backbone import Backbone
from convgate.train.sections import OptimizerSpec

__all__ = ["layer_scales", "scaled_groups"]

_STAGE = re.compile(r"(?:stages\.|layers\.|layer)(\d+)\.(?:(?:blocks\.)?(\d+)\.)?")
_TOGETHER = 3  # blocks of the third stage that count as one layer


def scaled_groups(spec: OptimizerSpec, model: nn.Module) -> list[dict[str, Any]]:
    """Group by ``backbone_scale`` and ``layer_decay``, the detector's own parameters first.

    The schedule multiplies its rate by each group's ``lr_scale``. Vectors are not decayed, unless
    ``decay_all``.

    Raises:
        InputError: if the model has no backbone below it, or one without four stages.
    """
    found = [(name, part) for name, part in model.named_modules() if isinstance(part, Backbone)]
    if len(found) != 1:
        raise InputError(
            "optimizer.layer_decay and backbone_scale need a backbone below a detector"
        )
    path, backbone = found[0]
    body = f"{path}.body."
    scales = layer_scales(backbone.body, spec.layer_decay) if spec.layer_decay != 1 else {}
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        inside = name.startswith(body)
        scale = scales.get(name.removeprefix(body), 1.0) * spec.backbone_scale if inside else 1.0
        decayed = spec.decay_all or (parameter.ndim > 1 and not name.endswith(".bias"))
        groups[scale, spec.weight_decay if decayed else 0.0].append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "lr_scale": scale}
        for (scale, decay), parameters in sorted(groups.items(), key=lambda item: -item[0][0])
    ]


def layer_scales(body: nn.Module, decay: float) -> dict[str, float]:
    """Return each parameter's factor: ``decay`` to the power of the layers above it.

    The stem is layer 0, stages 1 and 2 are layers 1 and 2, three blocks of stage 3 make a layer,
    and stage 4 is the last below the detector; what leads into a stage belongs to its first layer.
    Source: facebookresearch/ConvNeXt, object_detection: 6 layers for T, 12 for S and B.

    Raises:
        InputError: for a network without four stages.
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
