"""Build a gate that fits a site."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn

from convgate.errors import InputError, unknown
from convgate.gates import GATES, create_gate
from convgate.insertion.identity import start_as_identity
from convgate.insertion.sites import Site

Start = Literal["identity", "paper"]
STARTS = ("identity", "paper")


def build_gate(
    model: nn.Module, site: Site, gate: str, start: str, options: Mapping[str, Any]
) -> nn.Module:
    """Return a gate for a site, on its module's device, in the network's dtype and mode.

    Raises:
        InputError: for an unknown start, gate or option, or channels that the gate cannot take.
    """
    if start not in STARTS:
        raise unknown("start", start, STARTS)
    made: nn.Module = _create(site, gate, options)
    if start == "identity":
        made = start_as_identity(made)  # type: ignore[arg-type]
    near = model.get_submodule(site.path)
    device = _first(near, model).device
    return made.to(device, _first(model).dtype).train(model.training)


def _create(site: Site, gate: str, options: Mapping[str, Any]) -> nn.Module:
    known = gate in GATES and set(options) <= set(GATES.options(gate))
    try:
        return create_gate(gate, site.channels, **options)
    except InputError as error:
        if not known:
            raise
        raise InputError(f"{site.name} at {site.path}: {error}") from error


def _first(*modules: nn.Module) -> torch.Tensor:
    """Return the first floating-point parameter, or a default where there is none."""
    every = (p for module in modules for p in module.parameters() if p.is_floating_point())
    return next(every, torch.empty(0))
