"""Score a network: on its run's validation split, or on a folder of labelled pictures."""

import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from convgate import spec
from convgate.errors import CorruptFile, InputError
from convgate.networks.card import Card, check_learned, load_network, weights_file
from convgate.networks.labelled import accuracy, open_labelled
from convgate.networks.opening import Network, open_network
from convgate.networks.preprocessing import Preprocessing
from convgate.storage import RECIPE
from convgate.tables import Readable, Table
from convgate.train.classification import prepared_as
from convgate.train.job import TASKS
from convgate.train.recipe import Recipe
from convgate.train.record import format_scores, score_table
from convgate.train.trainer import quiet, run_validation


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluation(Readable):
    """Scores on a validation split, the one that counts first; percent, but for losses.

    Attributes:
        scores: As in `RunResult`.
        images: How many there were.
        skipped: How many damaged pictures or faults of the data were left out.
        network: What was scored.
    """

    scores: dict[str, float]
    images: int
    skipped: int
    network: str

    def to_dict(self) -> dict[str, Any]:
        """Return the scores for JSON."""
        return asdict(self)

    def table(self) -> Table:
        """Return a row for each score, and what they are of."""
        return score_table(self.scores, f"{self.images:,} images: {self.network}")

    @property
    def line(self) -> str:
        """The scores and what they are of, in one line."""
        return f"{format_scores(self.scores)}  on {self.images:,} images"


class Opened(Protocol):
    """A network that was opened elsewhere, such as an exported file by `open_predictor`."""

    @property
    def run(self) -> Callable[[Any], Any]: ...
    @property
    def card(self) -> Card: ...
    @property
    def ref(self) -> str: ...
    @property
    def images(self) -> Preprocessing: ...


def evaluate(
    ref: str | Path | Network | Opened,
    *,
    data: str | Path | None = None,
    model: nn.Module | None = None,
    **options: Any,
) -> Evaluation:
    """Score a network on data that it was not trained on.

    A run is scored on the validation split of its recipe, in the recipe's precision. Any other
    classifier is scored on ``data``, a folder or zip of CLASS/picture, or of val/CLASS/picture.

    Args:
        ref: As `open_network` takes it, or an opened network, or what `open_predictor` opened.
        data: Where the data lies, if not where the recipe says.
        model: For a run of a network that you built yourself: that network, with any weights.
        options: Of `open_network`: pretrained, weights, ...

    Raises:
        InputError: for a network without a recipe and without ``data``, one that has learned
            nothing, or data with other classes.
        CorruptFile: for a damaged file.
    """
    if model is not None:
        ref = _own(Path(str(ref)), model)
    elif isinstance(ref, (str, Path)):
        ref = open_network(ref, **options)
    if isinstance(ref, Network) and ref.card.recipe:
        return _by_recipe(ref, recipe_of(ref.card, ref.ref, data))
    return _on_pictures(ref, data)


def _on_pictures(network: Network | Opened, data: str | Path | None) -> Evaluation:
    card, ref = network.card, network.ref
    check_learned(card, ref)
    if card.task != "classify":
        raise InputError(
            f"{ref}: is made to {card.task} and has no recipe; of such networks a run is scored"
        )
    if data is None:
        raise InputError(
            f"{ref}: has no recipe that says what to score it on; give --data, a folder of "
            "CLASS/picture"
        )
    labelled = open_labelled(Path(data), card, "--data")
    run = network.model if isinstance(network, Network) else network.run
    scores = accuracy(run, labelled, network.images)
    return Evaluation(scores=scores, images=len(labelled.files), skipped=0, network=card.name)


def recipe_of(card: Card, ref: str, data: str | Path | None = None) -> Recipe:
    """Return the recipe that trained a network, with the place where its data lies now.

    The place asked for is preferred, then the one in the recipe of the run's own folder.
    """
    try:
        table = tomllib.loads(card.recipe)
    except tomllib.TOMLDecodeError as error:
        raise CorruptFile(f"{ref}: its recipe is not a TOML text ({error})") from None
    recipe = spec.parse(Recipe, table, name=ref)
    folder = Path(ref) if Path(ref).is_dir() else Path(ref).parent
    place = None if data is None else str(data)
    if data is None and (folder / RECIPE).is_file():
        place = spec.load(Recipe, folder / RECIPE).data.path
    return replace(recipe, data=replace(recipe.data, path=place))


def _by_recipe(network: Network, recipe: Recipe) -> Evaluation:
    kind, classes = TASKS[recipe.task.name], network.card.classes
    if recipe.task.name == "classify":
        recipe = prepared_as(recipe, network.images)
    with quiet():
        data: Any = kind.open_data(recipe, training=False)
        channels = getattr(data, "in_chans", network.in_chans)
        if (data.classes, channels) != (classes, network.in_chans):
            raise InputError(
                f"{network.ref}: trained on {len(classes)} classes with {network.in_chans} "
                f"channels, but the data has {len(data.classes)} with {channels}, or names them "
                "otherwise"
            )
        task = kind.create(recipe, network.model, len(classes))
        run_validation(recipe.run, task, data.val)
    return Evaluation(
        scores=task.scores(),
        images=data.val_images,
        skipped=len(data.skipped),
        network=network.card.name,
    )


def _own(path: Path, model: nn.Module) -> Network:
    """Put the weights of a run into the network that its owner built."""
    weights, card = load_network(weights_file(path))
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{path}: its weights are not of the given network ({reason})") from None
    return Network(model.eval(), card, str(path), card.name)
