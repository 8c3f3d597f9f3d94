import json
import shutil
from dataclasses import replace

import pytest

from convgate.errors import CorruptFile, InputError
from convgate.networks import open_network, save_network
from convgate.storage import WEIGHTS, load_weights, save_weights
from convgate.train.evaluate import evaluate
from convgate.train.fit import fit


@pytest.fixture
def run(tiny, tmp_path):
    recipe = tiny("schedule.epochs=1", "gate.name=se", "run.ema_decay=0.5", "run.dtype=bfloat16")
    return fit(recipe, tmp_path / "run", progress=False)


def rewrite(path, **changes):
    """Change what a weights file says of its network."""
    weights, metadata = load_weights(path)
    card = json.loads(metadata["convgate"]) | changes
    save_weights(path, weights, {**metadata, "convgate": json.dumps(card)})


def test_a_folder_and_its_weights_alone_score_as_training_did(run, tmp_path):
    found = evaluate(run.out)
    assert found.scores == run.scores
    assert found.images == 360
    alone = tmp_path / "alone.safetensors"
    shutil.copy(run.out / WEIGHTS, alone)
    shutil.rmtree(run.out)
    again = evaluate(alone)
    assert again.scores == run.scores
    assert again.to_dict()["network"] == "resnet8 + se"


def test_what_is_not_a_finished_run_is_refused(run, tmp_path):
    with pytest.raises(InputError, match="there is no such file or folder"):
        evaluate(tmp_path / "nothing")
    with pytest.raises(InputError, match="is a folder without weights"):
        evaluate(tmp_path)
    (run.out / WEIGHTS).unlink()
    with pytest.raises(InputError, match="not finished; train it to its end"):
        evaluate(run.out)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"recipe": "x = = 1"}, "not a TOML"),
        ({"classes": ""}, "'classes' must be a list"),
        ({"version": 7}, "its description has version 7, and this convgate reads 2"),
        ({"classes": ["a"]}, "trained on 1 classes with 1 channels, but the data has 10 with 1"),
    ],
)
def test_a_description_that_does_not_fit_is_explained(run, change, said):
    path = run.out / WEIGHTS
    rewrite(path, **change)
    with pytest.raises(InputError, match=said):
        evaluate(path)


def test_weights_that_do_not_fit_their_card_are_corrupt(run):
    path = run.out / WEIGHTS
    weights, metadata = load_weights(path)
    del weights["fc.weight"]
    save_weights(path, weights, metadata)
    with pytest.raises(CorruptFile, match="does not fit its own description"):
        evaluate(path)


def test_a_network_without_a_recipe_is_scored_on_labelled_pictures(run, make_tree, tmp_path):
    """Against a count by hand of what it answers for each picture."""
    network = open_network("resnet8")
    classes = ("cat", "dog", "fox", *(f"other {i}" for i in range(7)))
    card = replace(network.card, classes=classes, weights="drawn")
    save_network(tmp_path / "net.safetensors", network.model.state_dict(), card)
    tree = make_tree(train=1, val=4, size=(32, 32))
    found = evaluate(tmp_path / "net.safetensors", data=tree)
    images = card.images
    right = among = 0
    for label, name in enumerate(classes[:3]):
        for picture in sorted((tree / "val" / name).iterdir()):
            logits = network.model(images.batch([picture]))[0]
            order = logits.argsort(descending=True).tolist()
            right += order[0] == label
            among += label in order[:5]
    assert found.images == 12
    assert found.scores == {"top1": round(100 * right / 12, 4), "top5": round(100 * among / 12, 4)}
    with pytest.raises(InputError, match="says what to score it on; give --data"):
        evaluate(tmp_path / "net.safetensors")
    with pytest.raises(InputError, match="resnet8: its weights are random"):
        evaluate("resnet8", data=tree)
    nameless = replace(network, card=replace(card, classes=()))
    with pytest.raises(InputError, match="has no class names"):
        evaluate(nameless, data=tree)
