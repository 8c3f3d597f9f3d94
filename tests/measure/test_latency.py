"""Rows, words, base, batches and refusals; and one real comparison."""

import pytest
import torch
from torch import nn

from convgate.errors import InputError
from convgate.measure import compare_latency
from convgate.measure.statistics import median


def compare(models, x, machine, **options):
    return compare_latency(models, x, timer=machine, **options)


def test_rows_words_and_ratios(machine, x):
    models = {n: machine.model(t, name=n) for n, t in {"a": 10.0, "b": 20.0, "c": 9.0}.items()}
    report = compare(models, x, machine, rounds=6)
    assert [row.name for row in report.rows] == ["a", "b", "c"]
    assert [row.verdict for row in report.rows] == ["base", "slower", "faster"]
    assert report.row("b").ratio == pytest.approx(2)
    assert (report.row("b").ratio_low, report.row("b").ratio_high) == pytest.approx((2, 2))
    assert report.row("c").median_ms == pytest.approx(9)
    assert report.row("c").images_per_s == pytest.approx(1000 / 9)
    assert report.self_test.contains(1)
    assert report.reliable
    assert report.warnings == ()
    assert (report.rounds, report.stopped, report.base) == (6, "rounds", "a")
    assert report.environment["quantity"] == "latency"


def test_the_margin_decides(machine, x):
    models = {"a": machine.model(10.0), "b": machine.model(10.15), "c": machine.model(10.3)}
    report = compare(models, x, machine, rounds=5)
    assert [row.verdict for row in report.rows[1:]] == ["no difference", "slower"]
    report = compare(models, x, machine, rounds=5, margin=0.01)
    assert [row.verdict for row in report.rows[1:]] == ["slower", "slower"]


def test_the_base_may_be_named(machine, x):
    report = compare({"a": machine.model(10.0), "b": machine.model(5.0)}, x, machine, base="b")
    assert [(row.name, row.verdict) for row in report.rows] == [("b", "base"), ("a", "slower")]
    with pytest.raises(InputError, match="unknown base model 'bb'; did you mean 'b'"):
        compare({"b": machine.model(5.0)}, x, machine, base="bb")


def test_the_base_rides_twice_in_every_round(machine, x):
    models = {n: machine.model(10.0, name=n) for n in ("base", "other")}
    compare(models, x, machine, rounds=5)
    tail = machine.visits[-30:]  # five rounds of three visits of two passes, the first untimed
    assert tail.count("base") == 2 * tail.count("other") == 20


def test_batches_are_throughput(machine):
    batch = torch.randn(4, 3, 4, 4)
    report = compare({"a": machine.model(8.0)}, batch, machine, rounds=3)
    assert report.environment["quantity"] == "throughput"
    assert report.row("a").images_per_s == pytest.approx(500)
    with pytest.raises(InputError, match="not of a batch of 4"):
        compare({"a": machine.model(8.0)}, batch, machine, quantity="latency")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"secnds": 3}, "unknown option 'secnds'; did you mean 'seconds'"),
        ({"dtype": "float23"}, "unknown dtype 'float23'"),
        ({"compile_mode": "fast"}, "unknown compile mode 'fast'"),
        ({"threads": 0}, "threads=0"),
        ({"rounds": 1}, "rounds=1"),
        ({"margin": 2}, "margin=2"),
        ({"seconds": 0}, "seconds=0"),
        ({"quantity": "speed"}, "unknown quantity 'speed'"),
    ],
)
def test_wrong_options_are_refused(machine, x, options, sentence):
    with pytest.raises(InputError, match=sentence):
        compare({"a": machine.model(1.0)}, x, machine, **options)


def test_wrong_inputs_are_refused(machine, x):
    with pytest.raises(InputError, match="one repeated number"):
        compare({"a": machine.model(1.0)}, torch.zeros(1, 3, 4, 4), machine)
    with pytest.raises(InputError, match="no model"):
        compare({}, x, machine)
    with pytest.raises(InputError, match="'self-test' is taken"):
        compare({"self-test": machine.model(1.0)}, x, machine)
    with pytest.raises(TypeError, match="example_input is a str"):
        compare_latency({"a": nn.ReLU()}, "x")


def test_progress_is_told(machine, x):
    told = []
    compare({"a": machine.model(10.0)}, x, machine, rounds=4, on_progress=lambda *t: told.append(t))
    assert {word for word, _ in told} == {"warm-up", "rounds"}
    assert told[-1] == ("rounds", 1.0)
    assert all(0 <= share <= 1 for _, share in told)


def net(width):
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3))


def test_four_times_the_work_is_slower():
    x = torch.randn(1, 3, 24, 24)
    report = compare_latency(
        {"small": net(16), "large": net(64)}, x, threads=1, seconds=2, warmup_s=0.1, warmup_cap_s=2
    )
    row = report.row("large")
    assert row.verdict == "slower"
    assert row.ratio > 1.5
    assert row.q05_ms <= row.median_ms <= row.q95_ms
    assert median([row.ratio_low, row.ratio_high]) > 1.5


@pytest.mark.slow
def test_compiled_models_are_compared_with_eager_and_timed():
    x = torch.randn(1, 3, 24, 24)
    report = compare_latency(
        {f"n{i}": net(16 + i) for i in range(10)},
        x,
        threads=1,
        rounds=5,
        warmup_s=0.05,
        compile_mode="default",
    )
    assert len(report.rows) == 10


@pytest.mark.cuda
def test_gpu_events_and_host_clock():
    device = torch.device("cuda")
    models = {"small": net(16).to(device), "large": net(256).to(device)}
    x = torch.randn(32, 3, 64, 64, device=device)
    assert compare_latency(models, x, seconds=3).row("large").verdict == "slower"
    assert compare_latency(models, x[:1], seconds=3).environment["device"] != "cuda"
