"""A run's parts by its task: data, network and the module that trains it."""

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from convgate.errors import InputError
from convgate.networks.build import describe
from convgate.networks.card import Card
from convgate.networks.gates import gates_of
from convgate.networks.origin import origin_of
from convgate.networks.specs import ModelSpec
from convgate.train.build import card_of, network_of
from convgate.train.classification import Classification
from convgate.train.data.batches import TaskData
from convgate.train.detection import Detection, Segmentation
from convgate.train.optim import create_optimisation
from convgate.train.parts import freeze
from convgate.train.recipe import Recipe
from convgate.train.task import Task

TASKS: dict[str, type[Task]] = {
    "classify": Classification,
    "detect": Detection,
    "segment": Segmentation,
}


@dataclass(frozen=True)
class Job:
    """A run, opened: its data, its network, and what the network's file will say of it."""

    recipe: Recipe
    data: TaskData
    model: nn.Module
    card: Card
    still: list[str]  # paths of the frozen modules, which stay in evaluation mode
    origin: str  # what the network starts from
    learned: bool  # whether it is a classifier that starts from weights
    base: ModelSpec | None  # what an adapter of it needs; None where the backbone is trained, too

    def task(self) -> Task:
        recipe, kind = self.recipe, TASKS[self.recipe.task.name]
        optimise = partial(create_optimisation, recipe, len(self.data.train))
        task = kind.create(recipe, self.model, len(self.data.classes), optimise)
        task.still = self.still
        return task.train()


def open_job(recipe: Recipe, model: nn.Module | None = None) -> Job:
    kind = TASKS[recipe.task.name]
    data = kind.open_data(recipe)
    images = kind.images(recipe, data)
    classes = tuple(data.classes)
    starts = model is not None or recipe.model.is_learned
    learned = starts and recipe.task.name == "classify"
    adapts = learned and model is None and "backbone" not in recipe.trainable.parts
    if model is None:
        origin = origin_of(recipe.model)
        card = card_of(recipe, classes, images.input_size[0])
        model = network_of(recipe, card)
        card = replace(card, gates=gates_of(model))
    else:
        _check_outputs(model, recipe, images.input_size, len(classes))
        origin = "a network built in Python"
        card = replace(describe(model), classes=classes)
    from_words = f", from {origin}" if starts else ""
    card = replace(card, images=images, weights=f"trained on {recipe.data.name}{from_words}")
    still = freeze(model, recipe.trainable)
    base = recipe.model if adapts else None
    return Job(recipe, data, model, card, still, origin, learned, base)


def _check_outputs(
    model: nn.Module, recipe: Recipe, size: tuple[int, int, int], classes: int
) -> None:
    """Ask that a caller's classifier takes the data's pictures and tells its classes apart."""
    if recipe.task.name != "classify":
        raise InputError(
            f"model= is for recipes that classify, and this one is to {recipe.task.name}; name the "
            "backbone in the recipe"
        )
    parameter = next(model.parameters(), torch.empty(0))
    training = model.training
    try:
        with torch.inference_mode():
            found = model.eval()(torch.zeros(2, *size, device=parameter.device))
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())[:160]
        shown = " x ".join(map(str, size))
        raise InputError(
            f"the network does not take the data's pictures of {shown} ({reason})"
        ) from error
    finally:
        model.train(training)
    if tuple(found.shape) != (2, classes):
        raise InputError(
            f"the network gives {tuple(found.shape[1:])} for a picture, and the data has {classes} "
            f"classes; build it with num_classes={classes}"
        )
