"""The recipes for pictures of one's own: a folder is all that they are told."""

import pytest
import torch

from convgate.networks import open_network
from convgate.storage import ADAPTER
from convgate.train.fit import fit
from convgate.train.recipe import chosen, load_recipe, override
from fixtures.weights import needs_weights

LITE = "tf_efficientnet_lite0"


@pytest.mark.parametrize("name", ["full", "adapter", "probe"])
def test_a_folder_without_splits_is_enough(make_tree, tmp_path, name):
    """Of ten pictures of a class two are held out; the head is new, so it knows one of three."""
    needs_weights(LITE)
    tree = make_tree(train=10) / "train"
    recipe = chosen(load_recipe(f"finetune/{name}"), data=tree)
    recipe = override(recipe, "schedule.epochs=1", "data.image_px=32", "data.workers=0")
    result = fit(recipe, tmp_path / "run", progress=False)
    assert (result.train_images, result.val_images) == (24, 6)
    assert result.before["top1"] == pytest.approx(100 / 3, abs=1e-3)
    assert result.before["val_loss"] == pytest.approx(torch.tensor(3.0).log().item(), rel=1e-5)
    assert (tmp_path / "run" / ADAPTER).exists() == (name != "full")
    network = open_network(tmp_path / "run")
    assert network.classes == ("cat", "dog", "fox")
    assert bool(network.card.gates) == (name == "adapter")
