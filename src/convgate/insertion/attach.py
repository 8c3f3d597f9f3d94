"""Build a gate for a site, put it there, find the gates of a network, take them off."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from convgate.errors import InputError, unknown
from convgate.gates import GATES, create_gate
from convgate.insertion.hooks import hook, is_hooked, refuse_script, unhook
from convgate.insertion.identity import start_as_identity
from convgate.insertion.keep import keep, let_go
from convgate.insertion.module_tree import CHILDREN, MARK, PLACES, child, join
from convgate.insertion.sites import Site

STARTS = ("identity", "paper")


@dataclass(frozen=True)
class Insertion:
    """What an inserted gate is and where it was put."""

    site: Site  # the site, as named when the gate was put there
    gate: str  # its registered name
    options: Mapping[str, object]  # its options
    start: str  # "identity" or "paper"
    holds: Literal["site", "slot"] = "site"  # beside a module, or in the place of one


GONE = "removed_attention"
"""The attribute of what took the place of a network's own attention that says what stood there."""
WHOLE = "torch.nn.inserted"
"""Says to symbolic tracers, as the module of a layer's class, that they take a gate whole."""


def build_gate(model: nn.Module, insertion: Insertion) -> nn.Module:
    """Return the gate of a record, on its module's device, in the network's dtype and mode."""
    if insertion.start not in STARTS:
        raise unknown("start", insertion.start, STARTS)
    site, made = insertion.site, _create(insertion)
    if insertion.start == "identity":
        made = start_as_identity(made)  # type: ignore[arg-type]
    near = model.get_submodule(site.path)
    device = _first(near, model).device
    return made.to(device, _first(model).dtype).train(model.training)


def _create(insertion: Insertion) -> nn.Module:
    site, gate, options = insertion.site, insertion.gate, insertion.options
    known = gate in GATES and set(options) <= set(GATES.options(gate))
    fitted = {key: fitted_option(key, value, site.channels) for key, value in options.items()}
    try:
        return create_gate(gate, site.channels, **fitted)
    except InputError as error:
        if not known:
            raise
        raise InputError(f"{site.name} at {site.path}: {error}") from error


def fitted_option(key: str, value: object, channels: int) -> object:
    """Return a gate's option for its channels: of "<=16" the largest number that divides them."""
    if not isinstance(value, str) or not value.startswith("<="):
        return value
    try:
        most = int(value.removeprefix("<="))
    except ValueError:
        most = 0
    if most < 1:
        raise InputError(f"{key}={value!r}: after <= stands a whole number of at least 1")
    return next(n for n in range(most, 0, -1) if channels % n == 0)


def _first(*modules: nn.Module) -> torch.Tensor:
    """Return the first floating-point parameter, or a default where there is none."""
    every = (p for module in modules for p in module.parameters() if p.is_floating_point())
    return next(every, torch.empty(0))


def put_gate(model: nn.Module, insertion: Insertion) -> None:
    """Build the gate of a record and put it where the record says, which has to be free."""
    if insertion.gate == "none":
        take_away(model, insertion.site)
        return
    made = build_gate(model, insertion)
    if insertion.holds == "slot":
        mark(made, insertion)
        put(model, insertion.site.path, made)
    else:
        check_free(model, insertion.site)
        attach(model, made, insertion)


def take_away(model: nn.Module, site: Site) -> None:
    """Leave `nn.Identity` in the place of the network's own attention, which is gone then."""
    empty = nn.Identity()
    setattr(empty, GONE, Insertion(site, "none", {}, "paper", "slot"))
    put(model, site.path, empty)


def removed(model: nn.Module) -> Iterator[tuple[str, Insertion]]:
    """Yield the path of every attention of the network's own that was taken away, and its site."""
    for path, module in model.named_modules():
        gone = vars(module).get(GONE)
        if isinstance(gone, Insertion):
            yield path, gone


def check_free(model: nn.Module, site: Site) -> None:
    """Ask that the site's module has no gate there yet, nor anything of the gate's name."""
    name = CHILDREN[site.where]
    present = getattr(model.get_submodule(site.path), name, None)
    if present is None:
        return
    insertion = vars(present).get(MARK)
    if isinstance(insertion, Insertion):
        raise InputError(
            f"{site.path} carries the gate {insertion.gate!r} already; "
            "use replace to exchange it or remove to take it off"
        )
    raise InputError(
        f"{site.path} has a part {name!r} of its own, so no gate can be put there; "
        "name a neighbouring module"
    )


def attach(model: nn.Module, gate: nn.Module, insertion: Insertion) -> None:
    site = insertion.site
    carrier = model.get_submodule(site.path)
    mark(gate, insertion)
    gate.__prepare_scriptable__ = refuse_script  # type: ignore[assignment]
    carrier.add_module(CHILDREN[site.where], gate)
    hook(carrier, site.where, site.layout)
    keep(model, site.path, site.where)


def mark(gate: nn.Module, insertion: Insertion) -> None:
    """Write on a gate what it is, and let it keep its values when a checkpoint has none for it."""
    setattr(gate, MARK, insertion)
    gate.__module__ = WHOLE
    if insertion.site.layout == "NLC" and insertion.site.shape is not None:
        gate.grid = insertion.site.shape[2:]  # type: ignore[assignment]
    if insertion.site.where == "part":
        gate.part = insertion.site.part  # type: ignore[assignment]
    gate.register_load_state_dict_pre_hook(keep_values)  # type: ignore[no-untyped-call]


def detach(model: nn.Module, path: str) -> None:
    above, _, name = path.rpartition(".")
    carrier = model.get_submodule(above)
    unhook(carrier, name)
    delattr(carrier, name)
    let_go(model, above, PLACES[name])


def inserted(model: nn.Module) -> Iterator[tuple[str, nn.Module, Insertion]]:
    """Yield the path of every inserted gate, the gate, and its record."""
    for path, module in model.named_modules():
        insertion = vars(module).get(MARK)
        if isinstance(insertion, Insertion):
            yield path, module, insertion


def put(model: nn.Module, path: str, module: nn.Module) -> None:
    above, _, name = path.rpartition(".")
    parent = child(model, above)
    if parent is None or not name:
        raise InputError(f"the network has no part {join(above, name)!r} that could be replaced")
    parent._modules[name] = module
    if name in PLACES and is_hooked(parent, name):
        keep(model, above, PLACES[name])


def keep_values(gate: nn.Module, state_dict: dict[str, Any], prefix: str, *_: object) -> None:
    """Before loading: a state dict without any key of the gate leaves its values as they are."""
    if not any(key.startswith(prefix) for key in state_dict):
        state_dict.update(gate.state_dict(prefix=prefix, keep_vars=True))
