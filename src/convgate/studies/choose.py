"""What a study trains: its recipe with the caller's choices, and the recipe of one cell."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

from convgate import spec as toml
from convgate.errors import InputError, unknown
from convgate.gates import list_gates
from convgate.studies.grid import BASE, Cell, Variant, make_grid
from convgate.train.build import build_model
from convgate.train.recipe import GateSpec, ModelSpec, Recipe, StudySpec, load_recipe

OWN = "se"
"""The site where a backbone has channel attention of its own."""


class Choices(TypedDict, total=False):
    """What a caller may choose beside the recipe; what is absent or None stays the recipe's.

    Args:
        gates: Gate names; "none" is always added.
        models: Backbones.
        sites: Site names or module path patterns.
        seeds: How many seeds.
        budget: The latency a gate may cost, as a multiple of its backbone's.
    """

    gates: Sequence[str] | None
    models: Sequence[str] | None
    sites: Sequence[str] | None
    seeds: int | None
    budget: float | None


def choose(recipe: Recipe | str | Path, choices: Choices) -> tuple[Recipe, StudySpec]:
    """Return the recipe, and its study with the caller's choices.

    Raises:
        InputError: if nothing names the gates, or the budget leaves no room.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe)
    given: dict[str, Any] = {k: v for k, v in choices.items() if v is not None}
    for key in ("gates", "models", "sites"):
        if key in given:
            given[key] = _names(key, given[key])
    if recipe.study is None and "gates" not in given:
        raise InputError("the recipe has no [study] section; name the gates to compare")
    study = replace(recipe.study or _study_of(recipe), **given)
    if not 1 < study.budget < float("inf"):
        raise InputError(
            f"budget={study.budget}: a multiple of the base's latency, which must be above 1"
        )
    for gate in study.options:
        if gate not in list_gates():
            raise InputError(f"study.options: {unknown('gate', gate, list_gates())}")
    return recipe, replace(study, models=study.models or (recipe.model.name,))


def _study_of(recipe: Recipe) -> StudySpec:
    """The study of a recipe that has none of its own: its gate, where it puts it."""
    gate = recipe.gate or GateSpec(name=BASE)
    return StudySpec(gates=(gate.name,), sites=(gate.replaces or gate.at,))


def _names(key: str, given: Sequence[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        raise InputError(f"{key}={given!r}: give a list of names")
    return tuple(given)


def cells_of(recipe: Recipe, study: StudySpec) -> list[Cell]:
    """Return the grid; its seeds count up from the recipe's own."""
    cells = make_grid(study.models, study.gates, study.sites, study.seeds)
    return [replace(cell, seed=cell.seed + recipe.run.seed) for cell in cells]


def cell_recipe(recipe: Recipe, cell: Cell, options: Mapping[str, object]) -> Recipe:
    """Return the recipe of one cell: its backbone, gate, site and seed.

    Stages and start come from the recipe's own [gate] section where it has one. At the site
    "se" the gate takes the place of the channel attention that the backbone has.
    """
    model, gate, site = cell.variant.model, cell.variant.gate, cell.variant.site
    spec = None
    if not cell.variant.is_base:
        spec = replace(
            recipe.gate or GateSpec(name=gate),
            name=gate,
            at=site,
            replaces=site if site == OWN else None,
            options=dict(options),
        )
    return replace(
        recipe,
        model=recipe.model if model == recipe.model.name else ModelSpec(name=model),
        run=replace(recipe.run, seed=cell.seed),
        gate=spec,
        study=None,
    )


def check_variants(
    recipe: Recipe, variants: Sequence[Variant], options: Mapping[str, Mapping[str, object]]
) -> None:
    """Build each network once, before any of them is trained.

    Raises:
        InputError: naming the first variant that cannot be built, and why.
    """
    for variant in variants:
        chosen = cell_recipe(recipe, Cell(variant, 0), options.get(variant.gate, {}))
        try:
            build_model(chosen, num_classes=2, in_chans=3)
        except InputError as error:
            if variant.is_base:
                raise
            raise InputError(f"{variant.gate} at {variant.site}: {error}") from None


def essence(recipe: Recipe) -> str:
    """Return text that is equal for recipes whose runs may stand in one table.

    Where the data lies and what the study compares do not matter.
    """
    table = toml.to_table(recipe)
    for key in ("source", "note", "study"):
        table.pop(key, None)
    for key in ("path", "workers", "storage"):
        table["data"].pop(key, None)
    return json.dumps(table, sort_keys=True)
