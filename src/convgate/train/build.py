"""The network of a recipe, and how its batch is shared by processes."""

from torch import nn

from convgate.errors import InputError
from convgate.models.create import TORCHVISION
from convgate.networks.build import build_network
from convgate.networks.card import Card
from convgate.networks.origin import gates_in
from convgate.train.recipe import Recipe
from convgate.train.trainer import process


def images_per_pass(recipe: Recipe) -> int:
    """Return the pictures of one batch in this process; a batch is one pass, not one update."""
    here = process()
    images = recipe.run.batch_size // recipe.run.accumulate
    if images % here.world_size:
        raise InputError(
            f"run.batch_size={recipe.run.batch_size} cannot be shared by {here.world_size} "
            f"processes in {recipe.run.accumulate} passes; use a multiple"
        )
    return images // here.world_size


def card_of(recipe: Recipe, classes: tuple[str, ...], in_chans: int = 3) -> Card:
    """Describe what a recipe starts from, for these classes: its own gate is still to come."""
    options: dict[str, object] = dict(recipe.model.options)
    if recipe.task.name == "classify":
        options = {"num_classes": len(classes), **options}
    if in_chans != 3 and recipe.model.name.startswith(TORCHVISION):
        raise InputError(
            f"{recipe.model.name}: torchvision's networks take pictures of 3 channels, and these "
            f"have {in_chans}; use one of timm's or ours (convgate ls models)"
        )
    # torchvision's builders take no other number, nor its name
    if in_chans != 3 or "in_chans" in options:
        options["in_chans"] = in_chans
    return Card(
        task=recipe.task.name,
        model=recipe.model.name,
        options=options,
        gates=gates_in(recipe.model),
        detector=recipe.detector,
        classes=classes,
    )


def build_model(recipe: Recipe, *, num_classes: int, in_chans: int = 3) -> nn.Module:
    """Build the recipe's network; all but its gates starts alike for every gate at one seed."""
    return network_of(recipe, card_of(recipe, tuple(map(str, range(num_classes))), in_chans))


def network_of(recipe: Recipe, card: Card) -> nn.Module:
    """Build what the card says, with the recipe's gate, start, seed, drop path and norms."""
    return build_network(
        card,
        recipe.model,
        recipe.gate.single() if recipe.gate else (),
        seed=recipe.run.seed,
        drop_path=recipe.run.drop_path,
        synchronised=recipe.run.sync_batchnorm and process().world_size > 1,
    )
