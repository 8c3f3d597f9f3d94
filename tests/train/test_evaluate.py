import shutil

import pytest
from safetensors.torch import load_file, save_file

from convgate.errors import CorruptFile, InputError
from convgate.storage import WEIGHTS, load_weights
from convgate.train.evaluate import evaluate
from convgate.train.fit import fit


@pytest.fixture
def run(tiny, tmp_path):
    recipe = tiny("schedule.epochs=1", "gate.name=se", "run.ema_decay=0.5", "run.dtype=bfloat16")
    return fit(recipe, tmp_path / "run", progress=False)


def test_a_folder_and_its_weights_alone_score_as_training_did(run, tmp_path):
    scores = evaluate(run.out)
    assert (scores.top1, scores.top5, scores.val_loss) == (run.top1, run.top5, run.val_loss)
    assert scores.images == 360
    alone = tmp_path / "alone.safetensors"
    shutil.copy(run.out / WEIGHTS, alone)
    shutil.rmtree(run.out)
    again = evaluate(alone)
    assert (again.top1, again.val_loss) == (run.top1, run.val_loss)
    assert again.to_dict()["weights"] == str(alone)


def test_what_is_not_a_finished_run_is_refused(run, tmp_path):
    with pytest.raises(InputError, match="there is no such file or folder"):
        evaluate(tmp_path / "nothing")
    with pytest.raises(InputError, match="not a run; it holds no weights"):
        evaluate(tmp_path)
    (run.out / WEIGHTS).unlink()
    with pytest.raises(InputError, match="not finished; train it to its end"):
        evaluate(run.out)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"recipe": "x = = 1"}, "its description is damaged"),
        ({"classes": ""}, "its description is damaged"),
        ({"in_chans": "3"}, "trained on 10 classes with 3 channels, but the data has 10 with 1"),
        ({"classes": '["a"]'}, "trained on 1 classes with 1 channels"),
    ],
)
def test_a_description_that_does_not_fit_is_explained(run, change, said):
    path = run.out / WEIGHTS
    _, metadata = load_weights(path)
    save_file(load_file(path), path, {**metadata, **change})
    with pytest.raises(InputError, match=said):
        evaluate(path)


def test_weights_that_do_not_fit_their_recipe_are_corrupt(run):
    path = run.out / WEIGHTS
    weights, metadata = load_weights(path)
    del weights["fc.weight"]
    save_file(weights, path, metadata)
    with pytest.raises(CorruptFile, match="does not fit its own recipe"):
        evaluate(path)
