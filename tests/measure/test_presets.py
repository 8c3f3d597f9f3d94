"""Published protocols run as often as they say and report their own units."""

import pytest
import torch

from convgate.errors import InputError
from convgate.measure import PRESETS, run_preset


def test_fasternet_is_50_warm_up_and_200_runs_five_times(machine):
    x = torch.randn(2, 3, 4, 4)
    model = machine.model(10.0)
    report = run_preset({"a": model}, x, "fasternet", timer=machine)
    row = report.rows[0]
    assert model.done == 5 * (50 + 200)
    assert row.mean_s == pytest.approx(0.010)  # seconds per iteration of the batch
    assert row.std_s == pytest.approx(0, abs=1e-12)
    assert row.images_per_s == pytest.approx(200)
    assert report.batch == 2


def test_fasternet_deviation_is_over_the_five_repeats(machine, x):
    # Repeats of 250 passes take 10, 12, 10, 12, 11 ms each: mean 11, sample deviation 1.
    times = [ms for ms in (10.0, 12.0, 10.0, 12.0, 11.0) for _ in range(250)]
    row = run_preset({"a": machine.model(*times)}, x, "fasternet", timer=machine).rows[0]
    assert (row.mean_s, row.std_s) == pytest.approx((0.011, 0.001))


def test_timm_is_10_warm_up_and_40_runs(machine, x):
    # 10 slow passes of warm-up, then 20 of 1 ms and 20 of 3 ms.
    model = machine.model(*[50.0] * 10, *[1.0] * 20, 3.0)
    row = run_preset({"a": model}, x, "timm", timer=machine).rows[0]
    assert model.done == 50
    assert row.mean_s == pytest.approx(0.002)
    assert row.images_per_s == pytest.approx(500)


def test_every_repeat_times_every_model(machine, x):
    models = {name: machine.model(1.0, name=name) for name in "ab"}
    run_preset(models, x, "fasternet", timer=machine)
    repeats = [set(machine.visits[i : i + 500]) for i in range(0, 2500, 500)]
    assert repeats == [{"a", "b"}] * 5


def test_unknown_protocol_and_empty_comparison(machine, x):
    with pytest.raises(InputError, match="unknown protocol 'fastnet'; did you mean 'fasternet'"):
        run_preset({"a": machine.model(1.0)}, x, "fastnet")
    with pytest.raises(InputError, match="no model"):
        run_preset({}, x, "timm")
    assert set(PRESETS) == {"fasternet", "timm"}


def test_a_protocol_prints_its_means_and_its_runs(machine, x):
    report = run_preset({"a": machine.model(10.0)}, x, "fasternet", timer=machine)
    words = [line.split() for line in str(report).splitlines()]
    assert words[3:5] == [["a", "0.0100", "100"], ["±", "0.0000"]]
    assert words[-1][:6] == ["protocol", "fasternet:", "5", "x", "200", "runs"]
