"""The parts of a run: its data and its network."""

from typing import Any

import torch
from timm.layers.norm_act import convert_sync_batchnorm
from torch import nn

from convgate.errors import InputError
from convgate.insertion import insert, inserted, remove, replace
from convgate.models import create_model
from convgate.train.data import ImageData, open_data
from convgate.train.recipe import GateSpec, Recipe
from convgate.train.trainer import process


def open_run_data(recipe: Recipe) -> ImageData:
    """Open the data of a run as this process sees it."""
    here = process()
    return open_data(
        recipe.data,
        recipe.augment,
        batch_size=images_per_pass(recipe),
        seed=recipe.run.seed,
        rank=here.rank,
        world_size=here.world_size,
        batches=recipe.schedule.epoch_updates * recipe.run.accumulate,
    )


def images_per_pass(recipe: Recipe) -> int:
    """Return the pictures of one batch in this process; a batch is one pass, not one update.

    Raises:
        InputError: if the processes cannot share the recipe's batch.
    """
    here = process()
    images = recipe.run.batch_size // recipe.run.accumulate
    if images % here.world_size:
        raise InputError(
            f"run.batch_size={recipe.run.batch_size} cannot be shared by {here.world_size} "
            f"processes in {recipe.run.accumulate} passes; use a multiple"
        )
    return images // here.world_size


def build_model(recipe: Recipe, *, num_classes: int, in_chans: int) -> nn.Module:
    """Build the recipe's network; its backbone starts alike for every gate at one seed.

    Raises:
        InputError: for an unknown model, gate or site, or one that does not fit the other.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.run.seed)
        model = _backbone(recipe, num_classes, in_chans)
        synchronised = recipe.run.sync_batchnorm and process().world_size > 1
        if synchronised:
            # Before the gates come, for it builds norms anew and drops the hooks on them.
            model = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        if recipe.gate is not None:
            add_gate(model, recipe.gate)
        if synchronised:
            share_gate_statistics(model)
    return model


def _backbone(recipe: Recipe, num_classes: int, in_chans: int) -> nn.Module:
    options: dict[str, Any] = {"num_classes": num_classes, **recipe.model.options}
    if in_chans != 3:  # torchvision's builders take no other number, nor its name
        options["in_chans"] = in_chans
    if recipe.run.drop_path:
        options["drop_path_rate"] = recipe.run.drop_path
    spec = recipe.model
    if spec.weights is None:
        return create_model(spec.name, **options)
    options["num_classes"] = spec.weights_classes
    model: Any = create_model(spec.name, checkpoint_path=spec.weights, **options)
    if not hasattr(model, "reset_classifier"):
        raise InputError(f"model.weights: {spec.name} cannot change its head; use timm's form")
    model.reset_classifier(num_classes)
    return model


def add_gate(model: nn.Module, gate: GateSpec) -> None:
    """Put the gate into the network, or take away what it replaces where its name is "none"."""
    options: dict[str, Any] = {"stages": gate.stages, "start": gate.start, **gate.options}
    if gate.name == "none" and gate.replaces is not None:
        remove(model, gate.replaces)
    elif gate.replaces is not None:
        replace(model, gate.replaces, gate.name, **options)
    else:
        insert(model, gate.name, at=gate.at, **options)


def share_gate_statistics(model: nn.Module) -> None:
    """Let the batch norms inside the gates see the batches of all processes."""
    for _, gate, _ in inserted(model):
        convert_sync_batchnorm(gate)  # type: ignore[no-untyped-call]
