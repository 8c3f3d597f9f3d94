"""What a study trains: its recipe, with the caller's choices."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypedDict

from convgate.errors import InputError
from convgate.gates import GATES
from convgate.networks.origin import check_all_learned
from convgate.networks.specs import GateSpec
from convgate.studies.grid import (
    BASE,
    Cell,
    Variant,
    VariantSpec,
    cell_recipe,
    grid_spec,
    has_stage_gates,
    make_cells,
    make_grid,
    stage_gates,
)
from convgate.train.build import build_model
from convgate.train.recipe import (
    OPTIONS,
    Place,
    Recipe,
    chosen,
    gate_settings,
    load_recipe,
    override,
    placed,
)
from convgate.train.sections import StudySpec

GRID = ("gates", "models", "sites", "weights", "stages", "start")
START = "gate.start"
"""The axis that compares how gates start."""


class VariantSource(Protocol):
    """Variants that are chosen elsewhere, such as the rows of a printed table."""

    @property
    def name(self) -> str: ...
    @property
    def remark(self) -> str: ...
    def recipe(self) -> Recipe: ...
    def networks(self, recipe: Recipe) -> dict[Variant, VariantSpec]: ...


class Choices(TypedDict, total=False):
    """What a caller may choose beside the recipe; what is absent or None stays the recipe's.

    Args:
        gates: Gate names; "none" is always added.
        models: Networks by name, or files and folders whose weights and gates are the base's own.
        sites: Site names or module path patterns.
        stages: Where the gates sit; all stages by default.
        start: Whether the gates start as the "identity", or as their "paper" says; by default the
            identity in networks that start from weights, and the paper's elsewhere.
        pretrained: Networks by name start from their library's weights.
        weights: A checkpoint that the one network by name starts from.
        seeds: How many seeds.
        budget: The latency a gate may cost, as a multiple of its backbone's.
        preset: Rows of a printed table (`convgate.papers.open_preset`), which are the variants in
            place of gates, models and sites.
        sweep: An option of the gates and its values, as in "gate.options.groups=1,2,4", or their
            starts, as in "gate.start=identity,paper".
        settings: Single keys of the recipe to change, as in "schedule.epochs=5", and options of
            every gate, as in "reduction=8".
        data: Another path of the data.
        skip_bad: Whether damaged images are left out.
    """

    gates: Sequence[str] | None
    models: Sequence[str] | None
    sites: Sequence[str] | None
    stages: Sequence[int] | None
    start: str | None
    pretrained: bool | None
    weights: str | Path | None
    seeds: int | None
    budget: float | None
    preset: VariantSource | None
    sweep: str | None
    settings: Sequence[str] | None
    data: str | Path | None
    skip_bad: bool | None


@dataclass(frozen=True)
class StudyPlan:
    """What a study trains."""

    recipe: Recipe  # what all its runs share
    networks: Mapping[Variant, VariantSpec]  # what each variant builds
    seeds: int  # how many runs of each variant; they count up from the recipe's own
    budget: float  # the latency a gate may cost, as a multiple of its base's

    @property
    def cells(self) -> list[Cell]:
        return make_cells(self.networks, self.seeds, self.recipe.run.seed)


def make_plan(recipe: Recipe | str | Path | None, choices: Choices) -> StudyPlan:
    given: dict[str, Any] = {k: v for k, v in choices.items() if v is not None}
    for key in ("gates", "models", "sites"):
        if key in given:
            given[key] = _names(key, given[key])
    for gate in given.get("gates", ()):
        GATES.load(gate)
    preset, axis = (given.pop(key, None) for key in ("preset", "sweep"))
    if preset is not None and (named := [key for key in GRID if key in given]):
        raise InputError(f"--preset {preset.name} brings its own {named[0]}; leave yours out")
    settings, options = gate_settings(given.pop("settings", ()))
    place: Any = {key: given.pop(key) for key in ("stages", "start") if key in given}
    changes: dict[str, Any] = {
        key: given.pop(key) for key in ("data", "skip_bad", "pretrained", "weights") if key in given
    }
    if "weights" in changes:
        changes["model"] = _only(given.get("models", ()))
    recipe = chosen(override(_opened(recipe, preset), *settings), **changes)
    study = _study(recipe, given, any_gate=preset is not None or has_stage_gates(recipe))
    if preset is None:
        networks = _grid(recipe, study)
    else:
        networks = preset.networks(recipe)
        recipe = replace(recipe, note=recipe.note | {"study": preset.remark})
    networks = {v: _placed(network, place, options) for v, network in networks.items()}
    if axis is not None:
        networks = sweep(networks, axis)
    check_all_learned(network.model for network in networks.values())
    networks = {v: _settled(network) for v, network in networks.items()}
    return StudyPlan(recipe, networks, study.seeds, study.budget)


def _grid(recipe: Recipe, study: StudySpec) -> dict[Variant, VariantSpec]:
    """Return the grid, with the recipe's own gates where each stage has one of its own."""
    bare = replace(recipe, gate=None) if has_stage_gates(recipe) else recipe
    variants = make_grid(study.models, study.gates, study.sites)
    grid = {v: grid_spec(bare, v, study.options.get(v.gate, {})) for v in variants}
    return grid | stage_gates(recipe, study.models)


def _opened(recipe: Recipe | str | Path | None, preset: VariantSource | None) -> Recipe:
    if recipe is not None:
        return recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    if preset is None:
        raise InputError("name a recipe, or a printed table with --preset")
    return preset.recipe()


def _only(models: Sequence[str]) -> str:
    """Return the one network that --weights is for; nothing for the recipe's own."""
    if len(models) > 1:
        raise InputError(f"--weights is for one network, and there are {len(models)}")
    return models[0] if models else ""


def _placed(network: VariantSpec, place: Place, options: Mapping[str, object]) -> VariantSpec:
    gate = network.gate
    if gate is None or gate.name == BASE:
        return network
    gate = replace(gate, options={**gate.options, **options})
    return replace(network, gate=placed(gate, **place))


def _settled(network: VariantSpec) -> VariantSpec:
    gate = network.gate
    if gate is None:
        return network
    return replace(network, gate=gate.settled(learned=network.model.is_learned))


def _study(recipe: Recipe, given: dict[str, Any], *, any_gate: bool) -> StudySpec:
    if recipe.study is None and "gates" not in given and not any_gate:
        raise InputError("the recipe has no [study] section; name the gates to compare")
    study = replace(recipe.study or _study_of(recipe), **given)
    if not 1 < study.budget < float("inf"):
        raise InputError(
            f"budget={study.budget}: a multiple of the base's latency, which must be above 1"
        )
    for gate in study.options:
        try:
            GATES.check(gate)
        except InputError as error:
            raise InputError(f"study.options: {error}") from None
    return replace(study, models=study.models or (recipe.model.name,))


def _study_of(recipe: Recipe) -> StudySpec:
    """The study of a recipe that has none of its own: its gate, where it puts it."""
    gate = recipe.gate or GateSpec(name=BASE)
    return StudySpec(gates=(gate.name or BASE,), sites=(gate.replaces or gate.at,))


def _names(key: str, given: Sequence[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        raise InputError(f"{key}={given!r}: give a list of names")
    return tuple(given)


def check_variants(recipe: Recipe, networks: Mapping[Variant, VariantSpec]) -> None:
    """Build each network once, before any of them is trained."""
    for variant, network in networks.items():
        mine = cell_recipe(recipe, Cell(variant, 0), network)
        try:
            in_chans = int(str(mine.model.options.get("in_chans", 3)))
            build_model(mine, num_classes=2, in_chans=in_chans)
        except InputError as error:
            if variant.is_base:
                raise
            raise InputError(f"{variant.label.replace(' @ ', ' at ')}: {error}") from None


def sweep(networks: Mapping[Variant, VariantSpec], axis: str) -> dict[Variant, VariantSpec]:
    """Put one network for each value of an option in the place of each gated one."""
    option, values = _read_axis(axis)
    swept: dict[Variant, VariantSpec] = {}
    for variant, network in networks.items():
        if variant.is_base or network.gate is None:
            swept[variant] = network
            continue
        for value in values:
            if axis.startswith(START):
                gate = placed(network.gate, start=str(value))
            else:
                gate = replace(network.gate, options=network.gate.options | {option: value})
            swept[replace(variant, setting=f"{option}={value}")] = replace(network, gate=gate)
    if swept.keys() == networks.keys():
        raise InputError(f"--sweep {axis}: no network of the study has a gate; name one")
    return swept


def _read_axis(axis: str) -> tuple[str, list[object]]:
    key, equals, text = axis.partition("=")
    option = key.strip().removeprefix(OPTIONS)
    known = key.strip().startswith(OPTIONS) and option.isidentifier()
    if key.strip() == START:
        option = "start"
    elif not equals or not known:
        raise InputError(
            f"--sweep {axis!r}: write an option as in {OPTIONS}groups=1,2,4, or {START}=identity,"
            "paper"
        )
    try:
        values = tomllib.loads(f"values = [{text}]")["values"]
    except tomllib.TOMLDecodeError:  # bare words are texts
        values = [word.strip() for word in text.split(",") if word.strip()]
    if not values:
        raise InputError(f"--sweep {axis!r}: there is no value behind the sign")
    return option, values
