"""The parts of a run of detection or segmentation: its data, its network and its module."""

from dataclasses import replace
from typing import Any

import torch
from timm.layers.norm_act import convert_sync_batchnorm
from torch import nn

from convgate.errors import CorruptFile, InputError
from convgate.insertion import SITES
from convgate.tasks.backbone import Backbone, create_backbone
from convgate.tasks.detect import create_detector
from convgate.tasks.segment import create_segmenter
from convgate.tasks.task import Optimise, Task
from convgate.train.annotated import BatchPlan, DetectionData, TargetKinds, open_annotated
from convgate.train.annotated.voc import VOC_SETS
from convgate.train.build import add_gate, images_per_pass, share_gate_statistics
from convgate.train.metrics import AveragePrecision
from convgate.train.modules import Detection, Segmentation
from convgate.train.recipe import DetectorSpec, GateSpec, ModelSpec, ObjectAugmentSpec, Recipe
from convgate.train.trainer import process

__all__ = [
    "add_scene_gate",
    "assemble",
    "build_scene_model",
    "create_task",
    "detector_of",
    "has_masks",
    "open_scene_data",
]


def detector_of(recipe: Recipe) -> DetectorSpec:
    """Return what sits on the backbone.

    Raises:
        InputError: for a recipe of classification.
    """
    if recipe.detector is None:
        raise InputError(f"the recipe's task is {recipe.task.name}; it has no detector")
    return recipe.detector


def has_masks(recipe: Recipe) -> bool:
    """Tell whether the recipe's detector finds masks."""
    spec = detector_of(recipe)
    return "mask" in spec.name and bool(spec.options.get("masks", True))


def open_scene_data(recipe: Recipe, *, training: bool = True) -> DetectionData:
    """Open the data of a run as this process sees it.

    Args:
        recipe: Of detection or segmentation.
        training: Check the training split too.
    """
    here = process()
    plan = BatchPlan(
        images_per_pass(recipe),
        recipe.run.seed,
        here.rank,
        here.world_size,
        recipe.schedule.epoch_updates * recipe.run.accumulate,
    )
    kinds = TargetKinds(
        masks=has_masks(recipe),
        pixels=recipe.task.name == "segment",
        training=training,
        single_from=_closing_from(recipe),
    )
    return open_annotated(recipe.data, recipe.augment_objects or ObjectAugmentSpec(), kinds, plan)


def build_scene_model(recipe: Recipe, *, num_classes: int) -> nn.Module:
    """Build the recipe's network; all but its gates starts alike for every gate at one seed.

    A gate at a named site goes into the backbone; a path pattern names places of the whole network.

    Args:
        recipe: Of detection or segmentation.
        num_classes: Classes of objects, without a background.

    Raises:
        InputError: for an unknown backbone, detector, gate, site or option, or one that does not
            fit the others.
    """
    spec = detector_of(recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.run.seed)
        options = dict(recipe.model.options)
        if recipe.run.drop_path:
            options["drop_path_rate"] = recipe.run.drop_path
        start = replace(recipe.model, options=options)
        model = assemble(recipe.task.name, start, spec, num_classes=num_classes)
        synchronised = recipe.run.sync_batchnorm and process().world_size > 1
        if synchronised:
            # Before the gates come, for it builds norms anew and drops the hooks on them.
            model = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        _gate_and_load(recipe, model)
        if synchronised:
            share_gate_statistics(model)
    return model


def assemble(task: str, model: ModelSpec, spec: DetectorSpec, *, num_classes: int) -> nn.Module:
    """Put a detector or a segmenter on its backbone, without weights and gates.

    Args:
        task: "detect" or "segment".
        model: The backbone and its options.
        spec: What sits on it.
        num_classes: Classes of objects, without a background.

    Raises:
        InputError: for an unknown backbone, detector or option, or one that does not fit.
    """
    options: dict[str, Any] = {**model.options, **spec.backbone}
    backbone = create_backbone(model.name, **options)
    if task == "segment":
        return create_segmenter(spec.name, backbone, num_classes=num_classes + 1, **spec.options)
    return create_detector(spec.name, backbone, num_classes=num_classes, **spec.options)


def add_scene_gate(model: nn.Module, gate: GateSpec) -> None:
    """Put the gate into the backbone, or at a path pattern into any place of the network.

    Raises:
        InputError: for an unknown gate, site or option.
    """
    named = gate.replaces or all(part.strip() in SITES for part in gate.at.split(","))
    add_gate(_backbone(model).body if named else model, gate)


def create_task(
    recipe: Recipe, model: nn.Module, classes: int, optimise: Optimise | None = None
) -> Task:
    """Wrap a network in the Lightning module of its task.

    Raises:
        InputError: where average precision needs a package that is not installed.
    """
    shared: dict[str, Any] = {"optimise": optimise, "channels_last": recipe.run.channels_last}
    if recipe.task.name == "segment":
        return Segmentation(model, classes + 1, **shared)
    masks, voc = has_masks(recipe), recipe.data.name in VOC_SETS
    precision = AveragePrecision(masks=masks, voc=voc)
    first = "mask_ap" if masks else "voc_ap" if voc else "box_ap"
    return Detection(model, precision, first, closing_from=_closing_from(recipe), **shared)


def _closing_from(recipe: Recipe) -> int | None:
    """Return the first of the closing epochs, counted from 0."""
    schedule = recipe.schedule
    return schedule.epochs - schedule.closing_epochs if schedule.closing_epochs else None


def _gate_and_load(recipe: Recipe, model: nn.Module) -> None:
    """Put the gate in and load the backbone's weights, which may be those of a gated network."""
    backbone = _backbone(model)
    gate, path = recipe.gate, recipe.model.weights
    loaded = False
    if gate is not None and gate.replaces and path is not None:
        try:  # what the gate replaces may have weights in the file
            backbone.load(path)
            loaded = True
        except CorruptFile:
            raise
        except InputError:  # or the gate itself
            loaded = False
    if gate is not None:
        add_scene_gate(model, gate)
    if path is not None and not loaded:
        backbone.load(path)


def _backbone(model: nn.Module) -> Backbone:
    return next(part for part in model.modules() if isinstance(part, Backbone))
