"""What a training run is: every choice, in one frozen record that a TOML file spells out."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

from convgate import spec
from convgate.errors import InputError, unknown
from convgate.gates import GATES
from convgate.insertion.attach import STARTS
from convgate.networks.origin import another
from convgate.networks.specs import DetectorSpec, GateSpec, ModelSpec, TaskSpec
from convgate.train.annotated import ObjectAugmentSpec
from convgate.train.data import DETECTION_DATASETS, AugmentSpec, DataSpec
from convgate.train.sections import (
    OptimizerSpec,
    RunSpec,
    ScheduleSpec,
    StudySpec,
    TrainableSpec,
)

FOLDER = Path(__file__).parent.parent / "recipes"
OPTIONS = "gate.options."
OWN = "se"
"""The site where a network has channel attention of its own, whose place a gate takes."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run."""

    model: ModelSpec
    data: DataSpec
    optimizer: OptimizerSpec
    schedule: ScheduleSpec
    run: RunSpec
    trainable: TrainableSpec = field(default_factory=TrainableSpec)
    source: str = ""  # where the values come from
    # remarks on single keys, by key: what a paper leaves out or contradicts
    note: dict[str, str] = field(default_factory=dict)
    gate: GateSpec | None = None
    augment: AugmentSpec = field(default_factory=AugmentSpec)
    study: StudySpec | None = None
    task: TaskSpec = field(default_factory=TaskSpec)
    detector: DetectorSpec | None = None
    augment_objects: ObjectAugmentSpec | None = None

    def __post_init__(self) -> None:
        if "num_classes" in self.model.options:
            raise InputError("model.options.num_classes follows from the data; leave it out")
        classify = self.task.name == "classify"
        wrong = _wrong_for_classes(self) if classify else _wrong_for_objects(self)
        if wrong:
            raise InputError(f"[task] name={self.task.name!r}: {'; '.join(wrong)}")

    def fingerprint(self) -> dict[str, Any]:
        """Return what decides which weights are trained: not where the data lies, nor what for."""
        table = spec.to_table(replace(self, source="", note={}, study=None))
        for key in ("path", "workers", "storage"):
            table["data"].pop(key, None)
        if self.gate is not None:
            table["gate"]["start"] = self.gate.settled(learned=self.model.is_learned).start
        return table


_KEYS = {field.name for field in fields(Recipe)}


def _wrong_for_classes(recipe: Recipe) -> list[str]:
    rules = {
        "[detector] is for the tasks detect and segment": recipe.detector is None,
        "[augment_objects] is for the tasks detect and segment; use [augment]": (
            recipe.augment_objects is None
        ),
        "augment.crop_padding is larger than data.image_px": (
            recipe.augment.crop_padding <= recipe.data.image_px or recipe.augment.crop != "pad"
        ),
        f"data.name={recipe.data.name!r} holds objects": recipe.data.name not in DETECTION_DATASETS,
        "schedule.closing_epochs is for the task detect": not recipe.schedule.closing_epochs,
    }
    return [rule for rule, holds in rules.items() if not holds]


def _wrong_for_objects(recipe: Recipe) -> list[str]:
    data = recipe.data
    rules = {
        "[detector] is missing": recipe.detector is not None,
        "[augment] is for classification; use [augment_objects]": recipe.augment == AugmentSpec(),
        "[study] is for classification": recipe.study is None,
        f"data.name={data.name!r} has no objects; use one of {', '.join(DETECTION_DATASETS)}": (
            data.name in DETECTION_DATASETS
        ),
        "data.storage='memory' is for classification": data.storage != "memory",
        "run.compile is for classification": not recipe.run.compile,
        "trainable.frozen_stages and frozen_statistics are for classification; use frozen_stages "
        "and frozen_norms of [detector.backbone]": (
            not (recipe.trainable.frozen_stages or recipe.trainable.frozen_statistics)
        ),
    }
    return [rule for rule, holds in rules.items() if not holds]


def list_recipes() -> list[str]:
    """Return the names of the recipes that come with the package, sorted."""
    return sorted(str(p.relative_to(FOLDER).with_suffix("")) for p in FOLDER.rglob("*.toml"))


def load_recipe(name: str | Path) -> Recipe:
    """Read a recipe by its name ("cifar10/study") or from a TOML file.

    Raises:
        InputError: for an unknown name, or a file whose keys or values do not fit.
    """
    packaged = Path(name).suffix != ".toml"
    return spec.load(Recipe, recipe_file(name), name=f"{name}.toml" if packaged else None)


def recipe_file(name: str | Path) -> Path:
    """Return where a recipe stands, given by its name or as a file.

    Raises:
        InputError: for an unknown name.
    """
    if Path(name).suffix == ".toml":
        return Path(name)
    if str(name) not in list_recipes():
        raise unknown("recipe", str(name), list_recipes())
    return FOLDER / f"{name}.toml"


def override(recipe: Recipe, *settings: str) -> Recipe:
    """Return the recipe with single keys changed, each given as "optimizer.lr=0.1".

    A key without a section is an option of the gate: "reduction=8" is "gate.options.reduction=8".
    Fewer epochs shorten a warm-up and a closing that no longer fit, unless they are set as well.

    Raises:
        InputError: for a setting that is not key=value, or that the recipe does not take.
    """
    if not settings:
        return recipe
    table = spec.to_table(recipe)
    given = dict(map(read_setting, settings))
    for key, value in given.items():
        own = "." in key or key in _KEYS
        *sections, leaf = key.split(".") if own else ("gate", "options", key)
        target: Any = table
        for section in sections:
            target = target.setdefault(section, {}) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            raise InputError(f"--set {key}={value!r}: {'.'.join(sections)} holds no keys")
        target[leaf] = value
    if isinstance(given.get("schedule.epochs"), int):
        _fit_schedule(table["schedule"], recipe.schedule.epochs, given)
    return spec.parse(Recipe, table, name="--set")


def read_setting(setting: str) -> tuple[str, object]:
    """Read key=value; the value is TOML, and a bare word is a text.

    Raises:
        InputError: if there is no value.
    """
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set {setting!r}: write key=value, such as reduction=8")
    try:
        return key.strip(), tomllib.loads(f"value = {text.strip()}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return key.strip(), text.strip()


def _fit_schedule(schedule: dict[str, Any], before: int, given: dict[str, object]) -> None:
    """Shorten a warm-up and a closing in proportion where the epochs no longer hold both."""
    epochs = schedule["epochs"]
    keys = ("warmup_epochs", "closing_epochs")
    if sum(schedule.get(key, 0) for key in keys) < epochs:
        return
    for key in keys:
        if f"schedule.{key}" not in given and schedule.get(key):
            schedule[key] = schedule[key] * epochs // before


def gate_settings(settings: Sequence[str]) -> tuple[list[str], dict[str, object]]:
    """Part what is set into the recipe's own keys, and the options of a gate.

    Raises:
        InputError: as `read_setting`.
    """
    rest, options = [], {}
    for setting in settings:
        key, value = read_setting(setting)
        name = key.removeprefix(OPTIONS)
        if "." in name or name in _KEYS:
            rest.append(setting)
        else:
            options[name] = value
    return rest, options


class Place(TypedDict, total=False):
    """Where a gate sits and how it starts; what is empty or absent stays as it is."""

    at: str
    stages: tuple[int, ...] | None
    start: str


def chosen(
    recipe: Recipe,
    *,
    data: str | Path | None = None,
    model: str = "",
    pretrained: bool = False,
    weights: str | Path | None = None,
    gate: str | Mapping[int, str] = "",
    skip_bad: bool = False,
    **place: Unpack[Place],
) -> Recipe:
    """Return the recipe with other data, network, gate or place; what is empty or None stays.

    The network is a name, or a file or folder whose weights and gates are where training starts;
    the recipe's own gate is then left out. ``weights``, or with ``pretrained`` those of its
    library, are loaded into a network by name, the recipe's own where none is given. A new gate,
    or one for each stage as {2: "eca", 3: "seln"}, takes its paper's own options; "none" takes the
    gate away.

    Raises:
        InputError: for a network or file that is not there, weights that are given twice or lost,
            or a place without a gate.
    """
    if data is not None:
        recipe = replace(recipe, data=replace(recipe.data, path=str(data)))
    if skip_bad:
        recipe = replace(recipe, data=replace(recipe.data, skip_bad=True))
    if model or pretrained or weights is not None:
        network = another(recipe.model, model, pretrained=pretrained, weights=weights)
        recipe = replace(recipe, model=network, gate=None if network.gates else recipe.gate)
    if gate == "none":
        recipe = replace(recipe, gate=None)
    elif gate:
        recipe = replace(recipe, gate=_another_gate(recipe.gate, gate))
    return replace(recipe, gate=placed(recipe.gate, **place))


def _another_gate(own: GateSpec | None, gate: str | Mapping[int, str]) -> GateSpec:
    """Return a gate, or one for each stage, in the place and with the start of a recipe's own."""
    told: dict[str, Any] = {"options": {}}
    if isinstance(gate, str):
        told["name"] = gate
        if own is not None and isinstance(own.stages, dict):
            told["stages"] = None
    else:
        told |= {"name": "", "stages": {str(stage): name for stage, name in gate.items()}}
    for name in (gate,) if isinstance(gate, str) else gate.values():
        GATES.load(name)
    return replace(own, **told) if own is not None else GateSpec(**told)


def placed(gate: GateSpec | None, **place: Unpack[Place]) -> GateSpec | None:
    """Return the gate at another site, in other stages, or with another start.

    Raises:
        InputError: if there is no gate, or no such start.
    """
    given: dict[str, Any] = {key: value for key, value in place.items() if value}
    if not given:
        return gate
    if gate is None:
        raise InputError(f"--{next(iter(given))}: the recipe has no gate to place; add --gate")
    if given.get("start", STARTS[0]) not in STARTS:
        raise unknown("start", given["start"], STARTS)
    if "at" in given:
        given["replaces"] = OWN if given["at"] == OWN else None
    return replace(gate, **given)
