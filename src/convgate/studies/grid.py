"""The grid: backbone x gate x site x seed, with the base (gate "none") always in it."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from convgate.errors import InputError, unknown
from convgate.gates import list_gates

T = TypeVar("T")

BASE = "none"
"""The gate name of the plain backbone."""


@dataclass(frozen=True, order=True)
class Variant:
    """One network of a study: a backbone with one gate at one kind of site, or the base."""

    model: str
    gate: str = BASE
    site: str = ""

    @property
    def is_base(self) -> bool:
        return self.gate == BASE

    @property
    def base(self) -> "Variant":
        """The plain backbone it is compared with."""
        return Variant(self.model)

    @property
    def label(self) -> str:
        """Name on tables and pictures, e.g. "se @ block_end", "none"."""
        return self.gate if self.is_base else f"{self.gate} @ {self.site}"

    @property
    def folder(self) -> str:
        return "/".join([slug(self.model), slug("-".join(filter(None, (self.gate, self.site))))])


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
        variant = Variant(values["model"], values["gate"], values["site"])
        return cls(variant, values["seed"])


def slug(name: str) -> str:
    """Return a name that any file system takes; a changed name gets a mark of its original."""
    plain = re.sub(r"[^\w.-]+", "_", name)
    if plain == name:
        return name
    return f"{plain}.{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def make_grid(
    models: Sequence[str], gates: Sequence[str], sites: Sequence[str], seeds: int
) -> list[Cell]:
    """Return every cell, seed by seed, so that a full table exists after the first seed.

    Args:
        models: Backbone names.
        gates: Gate names; "none" is added where it is missing.
        sites: Site names or module path patterns.
        seeds: How many seeds; they are 0, 1, ...

    Raises:
        InputError: for an unknown gate, an empty list, or no seed.
    """
    if seeds < 1:
        raise InputError(f"seeds={seeds}: a study needs at least one seed, and three for intervals")
    for kind, names in (("backbone", models), ("gate", gates), ("site", sites)):
        if not names:
            raise InputError(f"the study names no {kind}; give at least one")
    variants = [v for model in unique(models) for v in _variants(model, gates, sites)]
    return [Cell(variant, seed) for seed in range(seeds) for variant in variants]


def _variants(model: str, gates: Sequence[str], sites: Sequence[str]) -> list[Variant]:
    for gate in gates:
        if gate != BASE and gate not in list_gates():
            raise unknown("gate", gate, [*list_gates(), BASE])
    rivals = [Variant(model, gate, site) for site in unique(sites) for gate in unique(gates)]
    return [Variant(model), *(v for v in rivals if not v.is_base)]


def unique(names: Sequence[T]) -> list[T]:
    """Return the items in order, each once."""
    return list(dict.fromkeys(names))
