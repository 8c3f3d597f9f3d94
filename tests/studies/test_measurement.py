"""Measuring with the real networks: counts and distances against independent ones."""

from dataclasses import replace

import pytest
import torch

from convgate.deploy import EngineConfig
from convgate.models import create_model
from convgate.studies import run_study
from convgate.studies.measurement import (
    Measurements,
    mean_distance,
    measure_runs,
    read_measurements,
)
from convgate.studies.provenance import latency_pairs
from convgate.train.fit import fit


def test_a_real_study_end_to_end(recipe, tmp_path, fake):
    recipe = replace(recipe, schedule=replace(recipe.schedule, epochs=1))

    def measure(recipe, records, folder, seconds):
        return measure_runs(recipe, records, folder, 0.5)

    steps = replace(fake, fit=fit, measure=measure)
    result = run_study(recipe, tmp_path, steps=steps, gates=["se"], seeds=1, progress=False)
    base, se = result.rows
    plain = create_model("resnet8", num_classes=10, in_chans=1)
    assert base.cost.params == sum(p.numel() for p in plain.parameters())
    # SE: two 1x1 layers with bias around C // 16 units, in three blocks of 16, 32 and 64
    added = sum(c * (c // 16) * 2 + c // 16 + c for c in (16, 32, 64))
    assert se.cost.params - base.cost.params == added
    assert (base.cost.ratio, base.cost.ratio_low, base.cost.ratio_high) == (1, 1, 1)
    assert se.cost.ratio_low <= se.cost.ratio <= se.cost.ratio_high
    assert 0 < se.distance < 0.5
    told = result.latency["resnet8"]
    assert told["input_shape"] == [1, 1, 8, 8] and "self_test" in told
    assert read_measurements(tmp_path / "latency.json") == result.measured


def test_a_folded_study_times_what_ships_and_counts_what_was_trained(
    recipe, tmp_path, fake, monkeypatch
):
    timed = {}
    compare = EngineConfig.compare
    monkeypatch.setattr(
        EngineConfig, "compare", lambda self, models, *a, **k: timed.update(models) or compare(
            self, models, *a, **k
        ),
    )  # fmt: skip

    def measure(recipe, records, folder, seconds):
        return measure_runs(recipe, records, folder, 0.5, fold=True)

    recipe = replace(recipe, schedule=replace(recipe.schedule, epochs=1))
    steps = replace(fake, fit=fit, measure=measure)
    result = run_study(recipe, tmp_path, steps=steps, gates=["se"], seeds=1, progress=False)
    kinds = {label: [type(m) for m in model.modules()] for label, model in timed.items()}
    assert kinds["none"].count(torch.nn.Conv2d) == 7  # stem and three blocks of two
    assert not any(
        issubclass(kind, torch.nn.BatchNorm2d) for found in kinds.values() for kind in found
    )
    plain = create_model("resnet8", num_classes=10, in_chans=1)
    assert result.rows[0].cost.params == sum(p.numel() for p in plain.parameters())
    (_, told), *_ = latency_pairs(result)
    assert told.endswith("float32, folded")


def test_a_network_that_does_not_fold_is_told(recipe, tmp_path, fake):
    result = run_study(recipe, tmp_path, steps=fake, gates=["se"], seeds=1, progress=False)
    told = result.measured.conditions["resnet8"]
    told["folded"] = {"none": ["norm into its convolution: 9"], "se": ["not folded: it has a loop"]}
    lines = [line for _, line in latency_pairs(result)]
    assert lines[1:] == ["se not folded: it has a loop"]


def test_distance_is_that_of_the_block_outputs():
    torch.manual_seed(0)
    model = create_model("resnet8", num_classes=10, in_chans=1).eval()
    images = torch.randn(3, 1, 8, 8)
    outputs = []
    blocks = [m for m in model.modules() if type(m).__name__.endswith("Block")]
    handles = [b.register_forward_hook(lambda m, a, out: outputs.append(out)) for b in blocks]
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    assert len(outputs) == 3
    expected = []
    for features in outputs:
        for maps in features.flatten(2).double():
            cosines = torch.nn.functional.cosine_similarity(maps[:, None], maps[None], dim=2)
            expected.append(((1 - cosines) / 2).mean())
    assert mean_distance(model, [images[:2], images[2:]]) == pytest.approx(
        float(torch.stack(expected).mean()), abs=1e-6
    )


def test_measurements_survive_their_file(tmp_path, cost):
    from convgate.studies.grid import Cell, Variant

    variant = Variant("net", "se", "block_end")
    written = Measurements({variant: cost(1.1)}, {Cell(variant, 0): 0.3}, {"a": 1}, {"b": "c"})
    written.write(tmp_path / "m.json")
    assert read_measurements(tmp_path / "m.json") == written
    assert written.covers({Cell(variant, 0)}) and not written.covers({Cell(variant, 1)})
    assert read_measurements(tmp_path / "none.json") is None
