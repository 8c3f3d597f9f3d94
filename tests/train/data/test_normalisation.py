"""What a picture is normalised by: the recipe's, the weights', the data's own."""

from dataclasses import replace

import pytest
import torch

from convgate.errors import InputError
from convgate.models import create_model
from convgate.networks import open_network, save_network
from convgate.networks.card import Card
from convgate.networks.preprocessing import Preprocessing
from convgate.train.classification import Classification
from convgate.train.evaluate import evaluate
from convgate.train.fit import fit
from convgate.train.recipe import override


def opened(recipe):
    data = Classification.open_data(recipe)
    return data.mean, data.std


@pytest.fixture
def file(tmp_path):
    """Weights that were learned on grey pictures of a known mean."""
    images = Preprocessing(input_size=(1, 8, 8), mean=(0.25,), std=(0.5,), resize="square")
    card = Card(model="resnet8", options={"num_classes": 10, "in_chans": 1}, images=images)
    path = tmp_path / "net.safetensors"
    weights = create_model("resnet8", num_classes=10, in_chans=1).state_dict()
    save_network(path, weights, card)
    return path


def test_the_recipes_own_come_first_then_those_of_the_weights(tiny, file):
    measured = opened(tiny())
    assert measured[0] != (0.25,)
    learned = f"model.weights={file}"
    assert opened(tiny(learned)) == ((0.25,), (0.5,))
    own = ("data.mean=[0.1]", "data.std=[0.2]")
    assert opened(tiny(*own)) == opened(tiny(learned, *own)) == ((0.1,), (0.2,))


def test_colours_are_averaged_for_grey_pictures(tiny, tmp_path):
    bare = tmp_path / "bare.pth"
    torch.save(create_model("resnet8", in_chans=1).state_dict(), bare)
    mean, std = opened(tiny(f"model.weights={bare}"))
    # timm's record of the name: the mean colour of CIFAR-10
    assert mean == pytest.approx(((0.4914 + 0.4822 + 0.4465) / 3,))
    assert std == pytest.approx(((0.2470 + 0.2435 + 0.2616) / 3,))


def test_a_batch_is_what_the_equation_says(tiny):
    plain = Classification.open_data(tiny("data.mean=[0.0]", "data.std=[1.0]"))
    other = Classification.open_data(tiny("data.mean=[0.5]", "data.std=[0.25]"))
    (x, _), (y, _) = next(iter(plain.val)), next(iter(other.val))
    assert x.min() >= 0 and x.max() <= 1
    torch.testing.assert_close(y, (x - 0.5) / 0.25)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (("data.mean=[0.5]",), "mean and std belong together"),
        (("data.mean=[0.5]", "data.std=[0.0]"), "must be of 1 or 3 channels, std above 0"),
        (("data.mean=[0.5, 0.5]", "data.std=[1.0, 1.0]"), "must be of 1 or 3 channels"),
    ],
)
def test_what_cannot_be(tiny, settings, sentence):
    with pytest.raises(InputError, match=sentence):
        tiny(*settings)


def test_a_run_is_scored_as_it_was_trained_when_its_first_weights_are_gone(tiny, file, tmp_path):
    recipe = override(
        tiny(f"model.weights={file}"), "schedule.epochs=1", "schedule.warmup_epochs=0"
    )
    result = fit(recipe, tmp_path / "run", progress=False)
    origin = f"{file.parent.name}/net.safetensors"
    assert result.started_from == origin and f"; from {origin}" in result.line
    network = open_network(tmp_path / "run")
    assert network.card.weights == f"trained on digits, from {origin}"
    assert (network.images.mean, network.images.std) == ((0.25,), (0.5,))
    file.unlink()
    assert evaluate(tmp_path / "run").scores == pytest.approx(result.scores)
    scratch = fit(replace(tiny(), schedule=recipe.schedule), tmp_path / "new", progress=False)
    assert scratch.started_from == "random weights" and "from" not in scratch.line
