"""What a training run is: every choice, in one frozen record that a TOML file spells out."""

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from convgate import spec
from convgate.errors import InputError, unknown
from convgate.train.annotated import ObjectAugmentSpec
from convgate.train.data import DETECTION_DATASETS, AugmentSpec, DataSpec
from convgate.train.sections import (
    DetectorSpec,
    GateSpec,
    ModelSpec,
    OptimizerSpec,
    RunSpec,
    ScheduleSpec,
    StudySpec,
    TaskSpec,
)

__all__ = [
    "DetectorSpec",
    "GateSpec",
    "ModelSpec",
    "ObjectAugmentSpec",
    "OptimizerSpec",
    "Recipe",
    "RunSpec",
    "ScheduleSpec",
    "StudySpec",
    "TaskSpec",
    "chosen",
    "list_recipes",
    "load_recipe",
    "override",
]

FOLDER = Path(__file__).parent.parent / "recipes"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run.

    ``source`` says where the values come from; ``note`` holds remarks on single keys, such as a
    value that a paper leaves out or contradicts.
    """

    model: ModelSpec
    data: DataSpec
    optimizer: OptimizerSpec
    schedule: ScheduleSpec
    run: RunSpec
    source: str = ""
    note: dict[str, str] = field(default_factory=dict)
    gate: GateSpec | None = None
    augment: AugmentSpec = field(default_factory=AugmentSpec)
    study: StudySpec | None = None
    task: TaskSpec = field(default_factory=TaskSpec)
    detector: DetectorSpec | None = None
    augment_objects: ObjectAugmentSpec | None = None

    def __post_init__(self) -> None:
        classify = self.task.name == "classify"
        wrong = _wrong_for_classes(self) if classify else _wrong_for_objects(self)
        if wrong:
            raise InputError(f"[task] name={self.task.name!r}: {'; '.join(wrong)}")

    def describes_same_run(self, other: "Recipe") -> bool:
        """Tell whether both train the same weights, wherever the data lies and what for."""
        return self._essence() == other._essence()

    def _essence(self) -> dict[str, Any]:
        table = spec.to_table(replace(self, source="", note={}, study=None))
        for key in ("path", "workers", "storage"):
            table["data"].pop(key, None)
        return table


def _wrong_for_classes(recipe: Recipe) -> list[str]:
    rules = {
        "[detector] is for the tasks detect and segment": recipe.detector is None,
        "[augment_objects] is for the tasks detect and segment; use [augment]": (
            recipe.augment_objects is None
        ),
        f"data.name={recipe.data.name!r} holds objects": recipe.data.name not in DETECTION_DATASETS,
        "schedule.closing_epochs is for the task detect": not recipe.schedule.closing_epochs,
        "optimizer.layer_decay and backbone_scale are for a backbone below a detector": (
            recipe.optimizer.layer_decay == recipe.optimizer.backbone_scale == 1
        ),
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
    path = Path(name)
    if path.suffix == ".toml":
        return spec.load(Recipe, path)
    if str(name) not in list_recipes():
        raise unknown("recipe", str(name), list_recipes())
    return spec.load(Recipe, FOLDER / f"{name}.toml", name=f"{name}.toml")


def override(recipe: Recipe, *settings: str) -> Recipe:
    """Return the recipe with single keys changed, each given as "optimizer.lr=0.1".

    Raises:
        InputError: for a setting that is not key=value, or that the recipe does not take.
    """
    table = spec.to_table(recipe)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise InputError(f"--set {setting!r}: write key=value, such as optimizer.lr=0.1")
        *sections, leaf = key.strip().split(".")
        target: Any = table
        for section in sections:
            target = target.setdefault(section, {}) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            raise InputError(f"--set {setting!r}: {'.'.join(sections)} holds no keys")
        target[leaf] = _literal(text.strip())
    return spec.parse(Recipe, table, name="--set" if settings else "recipe")


def chosen(
    recipe: Recipe,
    *,
    data: str | Path | None = None,
    model: str = "",
    gate: str = "",
    at: str = "",
    skip_bad: bool = False,
) -> Recipe:
    """Return the recipe with another data path, backbone, gate or site; empty leaves it alone.

    A new gate takes its paper's own options; "none" takes the gate away.
    """
    if data is not None:
        recipe = replace(recipe, data=replace(recipe.data, path=str(data)))
    if skip_bad:
        recipe = replace(recipe, data=replace(recipe.data, skip_bad=True))
    if model:
        recipe = replace(recipe, model=ModelSpec(name=model))
    if gate:
        here = replace(recipe.gate, name=gate, options={}) if recipe.gate else GateSpec(name=gate)
        recipe = replace(recipe, gate=None if gate == "none" else here)
    if at and recipe.gate is None:
        raise InputError(f"--at {at!r}: the recipe has no gate to place; add --gate")
    if at and recipe.gate:
        recipe = replace(recipe, gate=replace(recipe.gate, at=at, replaces=None))
    return recipe


def _literal(text: str) -> object:
    """Read a TOML value; a bare word is a text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
