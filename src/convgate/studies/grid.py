"""The grid: backbone x gate x site x seed, with the base (gate "none") always in it.

A variant may also carry a name of its own, as the rows of a printed table do. Its `VariantSpec`
is what it builds, and with a seed that gives the recipe of a cell.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

from convgate.errors import InputError
from convgate.gates import GATES
from convgate.networks.origin import another
from convgate.networks.specs import GateSpec, ModelSpec
from convgate.train.recipe import Recipe, placed

T = TypeVar("T")

BASE = "none"
"""The gate name of the plain backbone."""


@dataclass(frozen=True, order=True)
class Variant:
    """One network of a study: a backbone with one gate at one kind of site, or the base."""

    model: str  # the backbone
    gate: str = BASE  # the gate; "none" for none
    site: str = ""  # where it sits
    name: str = ""  # what it is called, where model, gate and site do not say it all
    family: str = ""  # the name of what a named variant is compared with; a base has its own here
    setting: str = ""  # the option that a study sweeps, and its value, as in "groups=8"

    @property
    def is_base(self) -> bool:
        return self.name == self.family if self.name else self.gate == BASE

    @property
    def group(self) -> str:
        """Names the base and all that are compared with it."""
        return self.family or self.model

    @property
    def kind(self) -> str:
        """What it adds to its base: the same in every group."""
        own = self.name.removeprefix(f"{self.family}+") or f"{self.gate} @ {self.site}"
        return f"{own} {self.setting}".strip()

    @property
    def label(self) -> str:
        """Name on tables and pictures, e.g. "se @ block_end", "none", "resnet50+se"."""
        own = self.name or (self.gate if self.is_base else f"{self.gate} @ {self.site}")
        return f"{own} {self.setting}".strip()

    @property
    def folder(self) -> str:
        own = [self.name] if self.name else [self.gate, self.site]
        return f"{slug(self.group)}/{slug('-'.join(filter(None, (*own, self.setting))))}"


@dataclass(frozen=True, kw_only=True)
class VariantSpec:
    """A backbone and its gate, as a recipe spells them."""

    model: ModelSpec
    gate: GateSpec | None = None

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.gate.options) if self.gate else {}


@dataclass(frozen=True, order=True)
class Cell:
    """One training run of a study: a variant and a seed."""

    variant: Variant
    seed: int

    @property
    def folder(self) -> str:
        """Path of its run below the study's `trials` folder; unlike names never share one."""
        return f"{self.variant.folder}-s{self.seed}"

    def __str__(self) -> str:
        return f"{self.variant.label.replace(' @ ', ' ')} seed {self.seed}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self.variant) | {"seed": self.seed}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Cell":
        return cls(read_variant(values), values["seed"])


def read_variant(values: dict[str, Any]) -> Variant:
    """Return the variant among other values."""
    return Variant(**{field.name: values[field.name] for field in fields(Variant)})


def slug(name: str) -> str:
    """Return a name that any file system takes; a changed name gets a mark of its original."""
    plain = re.sub(r"[^\w.+=-]+", "_", name)
    if plain == name:
        return name
    return f"{plain}.{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def make_cells(variants: Iterable[Variant], seeds: int, first: int = 0) -> list[Cell]:
    """Return every cell, seed by seed, so that a full table exists after the first seed."""
    if seeds < 1:
        raise InputError(f"seeds={seeds}: a study needs at least one seed, and three for intervals")
    ordered = unique(variants)
    return [Cell(variant, first + seed) for seed in range(seeds) for variant in ordered]


def has_stage_gates(recipe: Recipe) -> bool:
    """Whether a recipe has a table with the gate of each stage."""
    return recipe.gate is not None and isinstance(recipe.gate.stages, dict)


def stage_gates(recipe: Recipe, models: Sequence[str]) -> dict[Variant, VariantSpec]:
    """Return, for each backbone, the recipe's own table of stages and gates as one variant."""
    gate = recipe.gate
    if gate is None or not isinstance(gate.stages, dict):
        return {}
    placed_in = sorted(gate.stages.items(), key=lambda pair: int(pair[0]))
    label = "+".join(f"{stage}={name}" for stage, name in placed_in)
    names = ",".join(unique(name for _, name in placed_in))
    return {
        Variant(model, names, gate.at, name=label, family=model): VariantSpec(
            model=another(recipe.model, model), gate=gate
        )
        for model in models
    }


def make_grid(models: Sequence[str], gates: Sequence[str], sites: Sequence[str]) -> list[Variant]:
    """Return every combination, each backbone's base before its gates."""
    for kind, names in (("backbone", models), ("gate", gates), ("site", sites)):
        if not names:
            raise InputError(f"the study names no {kind}; give at least one")
    return [v for model in unique(models) for v in _variants(model, gates, sites)]


def _variants(model: str, gates: Sequence[str], sites: Sequence[str]) -> list[Variant]:
    for gate in gates:
        GATES.check(gate, BASE)
    gated = [Variant(model, gate, site) for site in unique(sites) for gate in unique(gates)]
    return [Variant(model), *(v for v in gated if not v.is_base)]


def unique(names: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(names))


def grid_spec(recipe: Recipe, variant: Variant, options: Mapping[str, object]) -> VariantSpec:
    """Return what a variant of the grid builds; a file's own gates belong to its base.

    Stages and start come from the recipe's own [gate] section where it has one. At the site
    "se" the gate takes the place of the channel attention that the backbone has.
    """
    model = another(recipe.model, variant.model)
    if variant.is_base:
        return VariantSpec(model=model)
    gate = replace(
        recipe.gate or GateSpec(name=variant.gate), name=variant.gate, options=dict(options)
    )
    return VariantSpec(model=model, gate=placed(gate, at=variant.site))


def cell_recipe(recipe: Recipe, cell: Cell, network: VariantSpec) -> Recipe:
    """Return the recipe of one cell: the study's, with its network and seed."""
    return replace(
        recipe,
        model=network.model,
        gate=network.gate,
        run=replace(recipe.run, seed=cell.seed),
        study=None,
    )


def fingerprint(recipe: Recipe) -> str:
    """Return text that is equal for recipes whose runs may stand in one table.

    Where the data lies and what the study compares do not matter.
    """
    return json.dumps(recipe.fingerprint(), sort_keys=True)
