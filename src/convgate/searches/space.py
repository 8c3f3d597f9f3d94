"""What a search chooses from: for each stage none, or one of the gates that fit there."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import nn

from convgate.errors import InputError
from convgate.gates import GATES, create_gate
from convgate.insertion.attach import fitted_option
from convgate.insertion.selection import find_sites
from convgate.insertion.sites import Site
from convgate.networks.gates import backbone_of
from convgate.networks.specs import GateSpec
from convgate.studies.grid import BASE, unique
from convgate.tasks.backbone import Backbone
from convgate.train.build import build_model
from convgate.train.recipe import Recipe

Combination = tuple[str, ...]
"""The gate of each stage of a space, in its order; "none" for none."""


@dataclass(frozen=True)
class Space:
    """For each stage the gates that fit it, "none" first."""

    at: str  # the site of every gate, or a pattern of module paths
    choices: Mapping[int, tuple[str, ...]]  # stage -> "none" and its gates
    start: str = "depends"  # how the gates start, as in `GateSpec`
    options: Mapping[str, object] = field(default_factory=dict)  # of all gates that have them
    sites: Mapping[int, tuple[int, int]] = field(default_factory=dict)  # stage -> count, channels

    @property
    def stages(self) -> tuple[int, ...]:
        return tuple(self.choices)

    @property
    def gates(self) -> tuple[str, ...]:
        return tuple(unique(g for each in self.choices.values() for g in each if g != BASE))

    @property
    def size(self) -> int:
        return math.prod(len(each) for each in self.choices.values())

    @property
    def plain(self) -> Combination:
        return (BASE,) * len(self.choices)

    def single(self, stage: int, gate: str) -> Combination:
        """Return the combination with one gate in one stage."""
        return tuple(gate if stage == each else BASE for each in self.choices)

    def singles(self) -> list[Combination]:
        return [self.single(s, g) for s, each in self.choices.items() for g in each if g != BASE]

    def uniform(self, gate: str) -> Combination:
        """Return the combination with one gate in every stage that it fits."""
        return tuple(gate if gate in each else BASE for each in self.choices.values())

    def label(self, combination: Combination) -> str:
        """Return e.g. "2=eca+3=se"; "se" for a gate in every stage, "none" for the plain net."""
        placed = [(s, g) for s, g in zip(self.choices, combination, strict=True) if g != BASE]
        if not placed:
            return BASE
        if combination == self.uniform(placed[0][1]):
            return placed[0][1]
        return "+".join(f"{stage}={gate}" for stage, gate in placed)

    def combination(self, label: str) -> Combination:
        """Return the combination that a label names."""
        if label in self.gates:
            return self.uniform(label)
        gates = dict(part.split("=", 1) for part in label.split("+")) if label != BASE else {}
        return tuple(gates.get(str(stage), BASE) for stage in self.choices)

    def gate_spec(self, combination: Combination) -> GateSpec | None:
        """Return the gates of a combination as a recipe spells them; None for the plain net."""
        stages = {str(s): g for s, g in zip(self.choices, combination, strict=True) if g != BASE}
        if not stages:
            return None
        known = {key for gate in set(combination) - {BASE} for key in GATES.options(gate)}
        options = {k: v for k, v in self.options.items() if k in known}
        return GateSpec(at=self.at, stages=stages, start=self.start, options=options)  # type: ignore[arg-type]

    def recipe(self, recipe: Recipe, combination: Combination) -> Recipe:
        """Return the recipe of a combination."""
        return replace(recipe, gate=self.gate_spec(combination), study=None)

    def fingerprint(self) -> dict[str, object]:
        """Return what makes a space, in plain JSON types."""
        choices = {str(stage): list(gates) for stage, gates in self.choices.items()}
        return {"at": self.at, "choices": choices, "start": self.start, "options": self.options}


def make_space(
    recipe: Recipe,
    gates: Sequence[str],
    *,
    at: str,
    stages: Sequence[int] | None = None,
    start: str = "depends",
    options: Mapping[str, object] | None = None,
) -> Space:
    """Find the stages of a recipe's network that have the site, and which gates fit each of them.

    Raises:
        InputError: for an unknown gate, site or stage, a gate that fits no site, options that no
            gate has, or where there is nothing to choose.
    """
    names = [gate for gate in unique(gates) if gate != BASE]
    options = dict(options or {})
    for gate in names:
        GATES.check(gate)
    _check_options(names, options)
    in_chans = int(str(recipe.model.options.get("in_chans", 3)))
    model = build_model(replace(recipe, gate=None), num_classes=2, in_chans=in_chans)
    found: dict[int, list[Site]] = {}
    for site in find_sites(_body(model), at, stages):
        found.setdefault(site.stage, []).append(site)
    fitting = {gate: _fitting(gate, found, options) for gate in names}
    choices = {s: (BASE, *(g for g in names if s in fitting[g])) for s in sorted(found)}
    sites = {stage: (len(each), each[0].channels) for stage, each in sorted(found.items())}
    space = Space(at, {s: c for s, c in choices.items() if len(c) > 1}, start, options, sites)
    if space.size < 2:
        raise InputError(
            "the space of the search is one point, the plain network; name a gate with --gate"
        )
    return space


def _body(model: nn.Module) -> nn.Module:
    """Return what named sites are looked for in: below a detector its backbone."""
    has_backbone = any(isinstance(part, Backbone) for part in model.modules())
    return backbone_of(model).body if has_backbone else model


def _check_options(gates: Sequence[str], options: Mapping[str, object]) -> None:
    lost = next((key for key in options if not any(key in GATES.options(g) for g in gates)), None)
    if lost is not None:
        raise InputError(f"{lost}: none of the gates {', '.join(gates)} has this option")


def _fitting(
    gate: str, found: Mapping[int, Sequence[Site]], options: Mapping[str, object]
) -> list[int]:
    """Return the stages whose sites can all take a gate."""
    refused: list[InputError] = []
    stages = []
    for stage, sites in found.items():
        try:
            for channels in unique(site.channels for site in sites):
                build_candidate(gate, channels, options)
        except InputError as error:
            refused.append(error)
        else:
            stages.append(stage)
    if not stages:
        raise InputError(f"the gate {gate!r} fits no site of the search: {refused[0]}")
    return stages


def build_candidate(gate: str, channels: int, options: Mapping[str, object]) -> nn.Module:
    """Build a gate with those of the options that it has."""
    own = {k: v for k, v in options.items() if k in GATES.options(gate)}
    return create_gate(gate, channels, **{k: fitted_option(k, v, channels) for k, v in own.items()})
