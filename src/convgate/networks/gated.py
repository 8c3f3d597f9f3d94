"""A gated network as one more name of timm's, so that timm's own loader builds it."""

from typing import Any

import timm
from timm.models import load_pretrained, register_model, resolve_pretrained_cfg
from torch import nn

import convgate.models  # noqa: F401  registers the names in timm
from convgate import spec
from convgate.errors import InputError
from convgate.train.build import add_gate
from convgate.train.recipe import GateSpec

GATED = "convgate_gated"


@register_model
def convgate_gated(
    pretrained: bool = False,
    *,
    base: str = "",
    gate: dict[str, Any] | None = None,
    pretrained_cfg: Any = None,
    pretrained_cfg_overlay: Any = None,
    **kwargs: Any,
) -> nn.Module:
    """Build a backbone with its gate; a hub folder of `save_hub` names this and its arguments.

    Args:
        pretrained: Load the weights of the folder.
        base: The backbone's name.
        gate: The fields of a `GateSpec`.
        pretrained_cfg: timm's record of the folder.
        pretrained_cfg_overlay: Entries over those.
        kwargs: The backbone's own.

    Raises:
        InputError: without a base or gate, or for one that does not fit the other.
    """
    if not base or gate is None:
        raise InputError(f"{GATED} is built from a folder: timm.create_model('local-dir:FOLDER')")
    if kwargs.pop("features_only", False):
        raise InputError(f"{base} with a gate has no features_only form; use forward_intermediates")
    record: Any = resolve_pretrained_cfg(GATED, pretrained_cfg, pretrained_cfg_overlay)
    source = record.to_dict()
    kwargs = {k: v for k, v in kwargs.items() if k not in ("cache_dir", "pretrained_model_args")}
    kwargs = {"num_classes": source["num_classes"], **kwargs}
    model: Any = timm.create_model(base, **kwargs)
    add_gate(model, spec.parse(GateSpec, gate, name=GATED))
    model.pretrained_cfg = model.default_cfg = source
    if pretrained:
        channels = kwargs.get("in_chans", 3)
        load_pretrained(model, source, num_classes=model.num_classes, in_chans=channels)
    return model
