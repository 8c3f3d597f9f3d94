import subprocess
import sys

import torch

from convgate import spec
from convgate.storage import LAST, WEIGHTS, load_checkpoint, load_weights
from convgate.train.fit import fit

COMMAND = """
import sys, warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", module="torch.distributed")
from convgate.train import fit, load_recipe
print(fit(load_recipe(sys.argv[1]), sys.argv[2]).top1)
"""


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
    one = fit(recipe, tmp_path / "one", progress=False)
    (tmp_path / "recipe.toml").write_text(spec.dump(recipe))
    (tmp_path / "two.py").write_text(COMMAND)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    script = ["--nproc-per-node", "2", tmp_path / "two.py"]
    done = subprocess.run(
        [*torchrun, *script, tmp_path / "recipe.toml", tmp_path / "two"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(one.top1)] * 2  # both processes know the whole score
    assert done.stderr.count("epoch 2/2") == 1  # and only one of them speaks
    weights = [load_weights(tmp_path / name / WEIGHTS)[0] for name in ("one", "two")]
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-4, atol=1e-6)
    records = [
        load_checkpoint(tmp_path / name / LAST)["convgate"]["records"] for name in ("one", "two")
    ]
    for key in ("train_loss", "val_loss", "top1", "lr"):
        torch.testing.assert_close(
            [epoch[key] for epoch in records[1]], [epoch[key] for epoch in records[0]],
            rtol=1e-4, atol=1e-6,
        )  # fmt: skip
