"""The gates of a network: as a recipe asks for them, as its card records them, and back."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from convgate.errors import InputError
from convgate.gates import GATES
from convgate.insertion import SITES, Insertion, Site, insert, inserted, remove, replace
from convgate.insertion.attach import put_gate, removed
from convgate.insertion.module_tree import child, is_container
from convgate.networks.specs import GatePlace, GateSpec, PlacedGate
from convgate.tasks.backbone import Backbone


def add_gate(model: nn.Module, gate: GateSpec) -> None:
    """Put a gate into a network, or take away what it replaces where its name is "none".

    Below a detector, a gate at a named site goes into the backbone; a path pattern names places of
    the whole network. A gate of other code has to be imported already: files may name it.
    """
    if isinstance(gate.stages, dict):
        for each in gate.single():
            add_gate(model, each)
        return
    GATES.check(gate.name, "none")
    named = gate.replaces or all(part.strip() in SITES for part in gate.at.split(","))
    if named and any(isinstance(part, Backbone) for part in model.modules()):
        model = backbone_of(model).body
    start = gate.settled(learned=False).start
    options: dict[str, Any] = {"stages": gate.stages, "start": start, **gate.options}
    if gate.name == "none" and gate.replaces is not None:
        remove(model, gate.replaces)
    elif gate.replaces is not None:
        replace(model, gate.replaces, gate.name, **options)
    else:
        insert(model, gate.name, at=gate.at, **options)


def backbone_of(model: nn.Module) -> Backbone:
    return next(part for part in model.modules() if isinstance(part, Backbone))


def gates_of(model: nn.Module) -> tuple[PlacedGate, ...]:
    """Return what a card records of a network's gates: which, with what options, and where."""
    grouped: dict[str, tuple[dict[str, Any], list[GatePlace]]] = {}
    records = [*removed(model), *((path, record) for path, _, record in inserted(model))]
    for path, record in records:
        about = {
            "name": record.gate,
            "at": record.site.name,
            "holds": record.holds,
            "start": record.start,
            "options": dict(record.options),
        }
        place = _place(path if record.holds == "slot" else path.rpartition(".")[0], record.site)
        grouped.setdefault(repr(about), (about, []))[1].append(place)
    return tuple(PlacedGate(**about, places=tuple(found)) for about, found in grouped.values())


def _place(path: str, site: Site) -> GatePlace:
    return GatePlace(
        path=path,
        where=site.where,
        part=site.part,
        stage=site.stage,
        channels=site.channels,
        layout=site.layout,
        grid=site.shape[2:] if site.shape else (1, 1),
    )


def put_gates(model: nn.Module, gates: Iterable[PlacedGate], name: str) -> None:
    """Put gates into a network at the places that were recorded; the network is not run.

    Args:
        model: The network, without these gates.
        gates: What `gates_of` has read off one like it.
        name: The network's, for errors.

    Raises:
        InputError: for a gate that is not known, or a place that the network does not have.
    """
    for gate in gates:
        GATES.check(gate.name, "none")
        for place in gate.places:
            _check_place(model, gate, place, name)
            shape = (1, place.channels, *place.grid)
            tensor = (place.channels, place.layout, place.where, shape, place.part)
            site = Site(gate.at, place.path, place.stage, *tensor)
            put_gate(model, Insertion(site, gate.name, gate.options, gate.start, gate.holds))


def _check_place(model: nn.Module, gate: PlacedGate, place: GatePlace, name: str) -> None:
    carrier = child(model, place.path) if place.path else None
    if carrier is None or (gate.holds == "site" and is_container(carrier)):
        raise InputError(
            f"the gate {gate.name!r} is recorded at {place.path!r}, and {name} has no such part "
            "that can carry a gate; use the versions that wrote the record, or insert it anew"
        )
    if min(place.channels, *place.grid) < 1 or place.part < 0:
        size = f"{place.channels} x {place.grid[0]} x {place.grid[1]}"
        raise InputError(
            f"the gate {gate.name!r} is recorded at {place.path!r} for a map of {size}, which is "
            "none; insert it anew"
        )
