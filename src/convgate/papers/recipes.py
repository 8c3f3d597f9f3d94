"""The recipe of a row: the command that trains it, and whether another recipe trains the same.

A row is found by what is built, never by a name given to it.
"""

import shlex
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from typing import Any

from convgate.gates import GATES
from convgate.networks.specs import DetectorSpec, GateSpec
from convgate.papers.table import PaperBuild, PaperRow, PaperTable
from convgate.registry import Registry
from convgate.spec import to_table
from convgate.tasks.detect import DETECTORS
from convgate.tasks.segment import SEGMENTERS
from convgate.train.recipe import Recipe, load_recipe, override

OUTPUTS: dict[str, object] = {"norm_outputs": False}
NO_LAYERS = frozenset(
    (
        *("num_classes", "min_size", "max_size", "image_px", "rois_per_image", "box_loss"),
        *("score_threshold", "nms_threshold", "max_detections"),
        *("norm_momentum", "frozen_stages", "frozen_norms"),
    )
)
"""Options of detectors and their backbones that leave the layers as they are."""


def train_command(name: str, table: PaperTable, row: PaperRow) -> str:
    """Return `convgate train ...` for a row; nothing where no recipe is known.

    A gate that two places share is trained as two gates.
    """
    recipe = recipe_name(table, row)
    if not recipe or row.build is None:
        return ""
    words = ["convgate", "train", recipe]
    for setting in (*settings(row.build), *row.settings):
        words += ["--set", setting]
    if row.build.gate is None and load_recipe(recipe).gate is not None:
        words += ["--gate", "none"]
    return shlex.join([*words, "--out", f"runs/{name}/{row.name}"])


def row_recipe(table: PaperTable, row: PaperRow) -> Recipe | None:
    """Return the recipe that the command trains; None where there is no command."""
    name = recipe_name(table, row)
    if not name or row.build is None:
        return None
    recipe = override(load_recipe(name), *settings(row.build), *row.settings)
    return recipe if row.build.gate else replace(recipe, gate=None)


def recipe_name(table: PaperTable, row: PaperRow) -> str:
    if row.build is None or not row.build.model:
        return ""
    return table.recipe if row.recipe is None else row.recipe


def settings(build: PaperBuild) -> list[str]:
    """Return what turns any recipe's network into the row's, as whole sections."""
    model = {"name": build.model, **({"options": build.options} if build.options else {})}
    sections = [f"model={_inline(model)}"]
    if build.gate is not None:
        plain = asdict(GateSpec(name=build.gate.name))
        gate = {k: v for k, v in to_table(build.gate).items() if k == "name" or v != plain[k]}
        sections.append(f"gate={_inline(gate)}")
    return sections


def trains(table: PaperTable, row: PaperRow, recipe: Recipe, dataset: str = "") -> bool:
    """Tell whether a recipe's network is the row's: backbone, gate, its options and its place.

    Where the table tells data sets apart, the recipe must have the row's.
    """
    if row.build is None or not row.build.model or not same_network(row.build, recipe):
        return False
    wanted = {dataset} if dataset else _datasets(table, row)
    return not wanted or recipe.data.name in wanted


def same_network(build: PaperBuild, recipe: Recipe) -> bool:
    """Tell whether a recipe trains the network of a row.

    A gate's options count with their defaults, and a preset as what it is a preset of. A gate
    that two places share in the row is trained as two gates, and equal to them here. Of a detector
    the layers count, and not the sizes of images, what is frozen, or how boxes are chosen.
    """
    ours, theirs = (build.model, build.options), (recipe.model.name, recipe.model.options)
    return (
        _plain(ours) == _plain(theirs)
        and _gate(build.gate) == _gate(recipe.gate, learned=recipe.model.is_learned)
        and (build.task, _layers(build.detector)) == (recipe.task.name, _layers(recipe.detector))
    )


def dataset_of(column: str) -> str:
    """Return the data set that an accuracy column names, as "top1_cifar10" does; or nothing."""
    return column.partition("_")[2] if column.startswith("top") else ""


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _datasets(table: PaperTable, row: PaperRow) -> set[str]:
    """Return the data sets that the row is about, if the table has several; else nothing."""
    named = {dataset_of(column) for column in table.units} - {""}
    every = {_trained_on(table, other) for other in table.row} - {""}
    return named or ({_trained_on(table, row)} if len(every) > 1 else set())


def _trained_on(table: PaperTable, row: PaperRow) -> str:
    return _data_of(recipe_name(table, row))


@cache
def _data_of(recipe: str) -> str:
    return load_recipe(recipe).data.name if recipe else ""


def _gate(gate: GateSpec | None, *, learned: bool = False) -> object:
    if gate is None or (gate.name == "none" and gate.replaces is None):
        return None
    place = ("replaces", gate.replaces) if gate.replaces else ("at", *sorted(gate.at.split(",")))
    known = gate.name in GATES
    kind = GATES.factory(gate.name) if known else gate.name
    options = {**(GATES.options(gate.name) if known else {}), **gate.options}
    start = gate.settled(learned=learned).start
    return kind, place, _plain(gate.stages), start, _plain(options)


def _layers(detector: DetectorSpec | None) -> object:
    """Return what decides on a detector's layers, with the defaults."""
    if detector is None:
        return None
    known: Registry[Any] = SEGMENTERS if detector.name in SEGMENTERS else DETECTORS
    defaults = known.options(detector.name) if detector.name in known else {}
    options = {k: v for k, v in {**defaults, **detector.options}.items() if k not in NO_LAYERS}
    backbone = {k: v for k, v in {**OUTPUTS, **detector.backbone}.items() if k not in NO_LAYERS}
    return detector.name, _plain(options), _plain(backbone)


def _plain(value: object) -> object:
    """Return a value in which a list equals a tuple."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
