import json

import torch

from convgate.storage import LAST, WEIGHTS, load_checkpoint, load_weights
from convgate.train.fit import fit
from fixtures.processes import two_processes


def score(recipe, out):
    return fit(recipe, out).score


def test_two_processes_equal_one_with_the_doubled_batch(tiny, tmp_path):
    """One process takes 40 images an update, each of two takes 20; no batch statistics."""
    recipe = tiny(
        "model.name=test_convnext",
        "data.image_px=32",
        "schedule.epochs=2",
        "optimizer.lr=0.01",
        "gate.name=seln",
        "run.ema_decay=0.9",
        "augment.mixup=0.2",
        "augment.random_erasing=0.5",
    )
    ran = tmp_path / "ran"
    with two_processes(ran, score, recipe, tmp_path / "two") as two:
        one = fit(recipe, tmp_path / "one", progress=False)
        for each in two:
            each.join(120)
    said = (ran / "errors").read_text()
    assert [each.exitcode for each in two] == [0, 0], said
    # Both processes know the whole score, and only one of them speaks.
    assert [json.loads((ran / f"{rank}.json").read_text()) for rank in range(2)] == [one.score] * 2
    assert said.count("epoch 2/2") == 1
    weights = [load_weights(tmp_path / name / WEIGHTS)[0] for name in ("one", "two")]
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-4, atol=1e-6)
    records = [
        load_checkpoint(tmp_path / name / LAST)["convgate"]["records"] for name in ("one", "two")
    ]
    records = [[epoch | epoch["scores"] for epoch in one] for one in records]
    for key in ("train_loss", "val_loss", "top1", "lr"):
        torch.testing.assert_close(
            [epoch[key] for epoch in records[1]], [epoch[key] for epoch in records[0]],
            rtol=1e-4, atol=1e-6,
        )  # fmt: skip
