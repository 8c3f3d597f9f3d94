"""Training a part of a network: what stays is compared bit for bit with where it started."""

import csv
import json

import pytest
import torch

from convgate.insertion import describe_movement, insert, measure_movement
from convgate.models import create_model
from convgate.networks import open_network
from convgate.storage import LAST, WEIGHTS, load_checkpoint, load_weights
from convgate.train.classification import Classification
from convgate.train.data import open_data
from convgate.train.fit import MOVED_IMAGES, fit
from convgate.train.record import METRICS, read_result
from fixtures.processes import two_processes

SHORT = ("schedule.epochs=2", "optimizer.lr=0.01")


def network():
    """ResNet-8 for grey digits with ECA behind its blocks, its statistics not those of a start."""
    torch.manual_seed(1)
    model = create_model("resnet8", num_classes=10, in_chans=1)
    insert(model, "eca")
    model.train()(torch.rand(40, 1, 8, 8))
    return model


def changed(recipe, folder):
    """Train a copy of the network; return which of its tensors the run left otherwise."""
    start = network().state_dict()
    fit(recipe, folder, model=network(), progress=False)
    end = open_network(folder).model.state_dict()
    assert end.keys() == start.keys()
    return {name for name in start if not torch.equal(end[name], start[name])}, set(start)


@pytest.mark.parametrize("averaged", ["0.0", "0.5"])
def test_a_probe_trains_only_the_head(tiny, tmp_path, averaged):
    ema = f"run.ema_decay={averaged}"
    moved, _ = changed(tiny(*SHORT, 'trainable.parts=["head"]', ema), tmp_path / "run")
    assert moved == {"fc.weight", "fc.bias"}
    assert read_result(tmp_path / "run").trained_params == 64 * 10 + 10


def test_an_adapter_trains_head_gates_and_norms(tiny, tmp_path):
    parts = 'trainable.parts=["head", "gates", "norms"]'
    moved, every = changed(tiny(*SHORT, parts), tmp_path / "run")
    named = ("fc.", "bn", "downsample.1.", ".gate.")
    assert moved == {name for name in every if any(word in name for word in named)}
    assert any("running_mean" in name for name in moved)


def test_frozen_statistics_stay_while_all_else_learns(tiny, tmp_path):
    moved, every = changed(tiny(*SHORT, "trainable.frozen_statistics=true"), tmp_path / "run")
    kept = ("running_mean", "running_var", "num_batches_tracked")
    assert moved == {name for name in every if not name.endswith(kept)}


def test_frozen_stages_stay(tiny, tmp_path):
    moved, every = changed(tiny(*SHORT, "trainable.frozen_stages=1"), tmp_path / "run")
    early = {n for n in every if n.startswith(("conv1", "bn1", "layer1")) and ".gate." not in n}
    assert moved == every - early and early


def test_a_network_in_evaluation_mode_is_trained_in_training_mode(tiny, tmp_path):
    model = network().eval()
    before = model.bn1.running_mean.clone()
    fit(tiny(*SHORT), tmp_path, model=model, progress=False)
    assert not torch.equal(model.bn1.running_mean, before)


def accuracy(model, recipe):
    """Return the share of right answers on the validation split, counted here."""
    data = open_data(recipe.data, recipe.augment, batch_size=90, seed=0)
    with torch.inference_mode():
        right = [(model.eval()(x).argmax(1) == target).sum() for x, target in data.val]
    return 100 * int(sum(right)) / data.val_images


def test_the_score_before_the_first_step_is_that_of_the_network_as_it_came(tiny, tmp_path):
    recipe = tiny("run.ema_decay=0.5")
    expected = accuracy(network(), recipe)
    result = fit(recipe, tmp_path / "run", model=network(), progress=False)
    assert result.before["top1"] == pytest.approx(expected, abs=1e-4)
    assert len(result.epochs) == 4 and result.epochs[0].epoch == 1
    rows = list(csv.DictReader((tmp_path / "run" / METRICS).read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert float(rows[0]["top1"]) == result.before["top1"] and rows[0]["lr"] == ""
    assert read_result(tmp_path / "run") == result
    assert fit(tiny(), tmp_path / "scratch", progress=False).before == {}


PARTIAL = (
    'trainable.parts=["head", "gates", "norms"]', "trainable.frozen_statistics=true",
    "optimizer.lr_scale.head=5.0", "optimizer.lr_scale.gates=3.0", "optimizer.layer_decay=0.8",
    "run.ema_decay=0.9", "optimizer.lr=0.01",
)  # fmt: skip


def stop_after_one(record):
    if record.epoch == 1:
        raise KeyboardInterrupt


def test_a_partial_run_resumes_bit_for_bit(tiny, tmp_path):
    recipe = tiny(*PARTIAL)
    whole = fit(recipe, tmp_path / "whole", model=network(), progress=False)
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, tmp_path / "broken", model=network(), progress=False, on_epoch=stop_after_one)
    resumed = fit(recipe, tmp_path / "broken", model=network(), progress=False)
    assert (resumed.before, resumed.scores) == (whole.before, whole.scores)
    states = [load_checkpoint(tmp_path / name / LAST) for name in ("whole", "broken")]
    for key in ("state_dict", "current_model_state"):
        assert all(torch.equal(states[0][key][n], v) for n, v in states[1][key].items())
    files = [load_weights(tmp_path / name / WEIGHTS)[0] for name in ("whole", "broken")]
    assert all(torch.equal(files[0][key], value) for key, value in files[1].items())


def train_and_tell(recipe, out):
    result = fit(recipe, out, model=network(), progress=False)
    return [result.before, result.scores]


def test_two_processes_share_a_partial_run(tiny, tmp_path):
    """Their batches are halves of one process's, and no batch statistics are taken."""
    recipe, ran = tiny(*PARTIAL, "schedule.epochs=2"), tmp_path / "ran"
    with two_processes(ran, train_and_tell, recipe, tmp_path / "two") as two:
        one = train_and_tell(recipe, tmp_path / "one")
        for each in two:
            each.join(120)
    assert [each.exitcode for each in two] == [0, 0], (ran / "errors").read_text()
    for rank in range(2):
        told = json.loads((ran / f"{rank}.json").read_text())
        assert told == [pytest.approx(scores, rel=1e-4) for scores in one]
    weights = [load_weights(tmp_path / name / WEIGHTS)[0] for name in ("one", "two")]
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-4, atol=1e-6)
    start = network().state_dict()
    assert torch.equal(weights[1]["conv1.weight"], start["conv1.weight"])


def test_an_average_that_warms_up_forgets_the_start(tiny, tmp_path, monkeypatch):
    """The mean after u updates is w_u + d (mean - w_u), d = min(0.5, (1 + u) / (10 + u))."""
    seen = []
    step = Classification.on_train_batch_end

    def noted(self, *args):
        seen.append(self.model.fc.bias.detach().double().clone())
        return step(self, *args)

    monkeypatch.setattr(Classification, "on_train_batch_end", noted)
    recipe = tiny(*SHORT, "run.ema_decay=0.5", "run.ema_warmup=true")
    fit(recipe, tmp_path, progress=False)
    assert len(seen) == 10
    mean = seen[0]
    for u, weights in enumerate(seen[1:], 1):
        mean = weights + min(0.5, (1 + u) / (10 + u)) * (mean - weights)
    found = load_weights(tmp_path / WEIGHTS)[0]["fc.bias"].double()
    torch.testing.assert_close(found, mean, rtol=0, atol=1e-6)
    plain = seen[0]
    for weights in seen[1:]:
        plain = weights + 0.5 * (plain - weights)
    assert not torch.allclose(found, plain, rtol=0, atol=1e-4)


def test_a_run_tells_how_far_its_gates_moved(tiny, tmp_path):
    """As measured anew on the file that the run wrote and the pictures it was judged by."""
    recipe = tiny(*SHORT)
    start = network()
    untrained = measure_movement(start, [torch.rand(4, 1, 8, 8)])
    result = fit(recipe, tmp_path / "run", model=start, progress=False)
    x = torch.cat([batch for batch, _ in Classification.open_data(recipe).val])[:MOVED_IMAGES]
    written = measure_movement(open_network(tmp_path / "run").model, [x])
    assert result.moved == pytest.approx(written)
    assert set(untrained.values()) == {0.0} and min(result.moved.values()) > 0
    assert read_result(tmp_path / "run").moved == result.moved
    assert describe_movement(result.moved) in result.line
