"""What a variant of a study builds, and the recipe that trains it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from convgate import spec
from convgate.errors import InputError
from convgate.studies.grid import Cell, Variant
from convgate.train.recipe import GateSpec, ModelSpec, Recipe

OWN = "se"
"""The site where a backbone has channel attention of its own."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A backbone and its gate, as a recipe spells them."""

    model: ModelSpec
    gate: GateSpec | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The gate's own options."""
        return dict(self.gate.options) if self.gate else {}


class Known(Protocol):
    """A cell with what its storage says of its network."""

    @property
    def cell(self) -> Cell: ...
    @property
    def options(self) -> dict[str, Any]: ...
    @property
    def network(self) -> Network | None: ...


def grid_network(recipe: Recipe, variant: Variant, options: Mapping[str, object]) -> Network:
    """Return what a variant of the grid builds.

    Stages and start come from the recipe's own [gate] section where it has one. At the site
    "se" the gate takes the place of the channel attention that the backbone has.
    """
    own = variant.model == recipe.model.name
    model = recipe.model if own else ModelSpec(name=variant.model)
    if variant.is_base:
        return Network(model=model)
    gate = replace(
        recipe.gate or GateSpec(name=variant.gate),
        name=variant.gate,
        at=variant.site,
        replaces=variant.site if variant.site == OWN else None,
        options=dict(options),
    )
    return Network(model=model, gate=gate)


def network_of(recipe: Recipe, known: Known) -> Network:
    """Return the network of a stored cell; studies of older versions hold its options alone."""
    return known.network or grid_network(recipe, known.cell.variant, known.options)


def cell_recipe(recipe: Recipe, cell: Cell, network: Network) -> Recipe:
    """Return the recipe of one cell: the study's, with its network and seed."""
    return replace(
        recipe,
        model=network.model,
        gate=network.gate,
        run=replace(recipe.run, seed=cell.seed),
        study=None,
    )


def write_network(network: Network) -> dict[str, Any]:
    """Return what a storage keeps of a network, in plain JSON types."""
    return {"options": network.options, "network": spec.to_table(network)}


def read_network(stored: Mapping[str, Any]) -> Network | None:
    """Read what `write_network` wrote; None where an older version wrote it."""
    if "network" not in stored:
        return None
    return spec.parse(Network, stored["network"], name="network of a stored cell")


def essence(recipe: Recipe) -> str:
    """Return text that is equal for recipes whose runs may stand in one table.

    Where the data lies and what the study compares do not matter.
    """
    table = spec.to_table(recipe)
    for key in ("source", "note", "study"):
        table.pop(key, None)
    for key in ("path", "workers", "storage"):
        table["data"].pop(key, None)
    return json.dumps(table, sort_keys=True)


def filled(known: str) -> str:
    """Return a stored `essence` with the defaults of the keys that are younger than it."""
    try:
        return essence(spec.parse(Recipe, json.loads(known), name="the stored recipe"))
    except InputError:  # of a version with other keys
        return known
