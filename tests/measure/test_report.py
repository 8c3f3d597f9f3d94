"""Self-test, spread, drift, settling, outliers: what the report says of its own worth."""

import json

import pytest

from convgate.measure import UnreliableMeasurement, compare_latency, timing


def compare(models, x, machine, **options):
    return compare_latency(models, x, timer=machine, **options)


def test_a_spread_base_is_unreliable_and_strict_makes_it_an_error(machine, x):
    models = {"a": machine.model(*[10.0, 10.0, 12.0, 12.0] * 3000)}
    report = compare(models, x, machine, rounds=40, warmup_cap_s=2)
    assert not report.reliable
    assert any("spread" in warning and "above 5 %" in warning for warning in report.warnings)
    with pytest.raises(UnreliableMeasurement, match=r"unreliable: .*spread"):
        compare(models, x, machine, rounds=40, warmup_cap_s=2, strict=True)


def test_a_drifting_base_is_unreliable(machine, x):
    # 5 ms more in 100 s, so 4 % from the first to the last third of some 120 s
    drifting = machine.changing(lambda s: 100 + 0.05 * s)
    report = compare({"a": drifting}, x, machine, rounds=300)
    assert report.base_spread < 0.05
    assert any("drifted" in warning and "above 3 %" in warning for warning in report.warnings)


def test_a_base_that_differs_from_itself_is_unreliable(machine, x):
    # The first copy of a round is timed with 10 ms, the second with 11, whichever comes first...
    calls = iter(range(10**6))
    models = {"a": machine.changing(lambda s: 10.0)}
    original = timing.Candidate.visit

    def biased(self, timer, pipelined):
        value = original(self, timer, pipelined) * (1.1 if self.name == "self-test" else 1)
        self.visits_ms[-1] = value + 1e-3 * (next(calls) % 5)
        return self.visits_ms[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing.Candidate, "visit", biased)
        report = compare(models, x, machine, rounds=20)
    assert any("against itself" in warning for warning in report.warnings)
    assert not report.reliable


def test_what_did_not_settle_is_named_without_being_unreliable(machine, x):
    creeping = machine.changing(lambda s: 20 * 1.2**s if s < 9 else 10.0)
    report = compare(
        {"calm": machine.model(10.0), "creeping": creeping}, x, machine, rounds=5, warmup_cap_s=8
    )
    assert not report.row("creeping").settled
    assert "not settled after the warm-up: creeping" in report.warnings


def test_a_wide_interval_is_said(machine, x):
    models = {"a": machine.model(10.0), "b": machine.model(*[9.0, 9.0, 11.0, 11.0] * 2000)}
    report = compare(models, x, machine, rounds=20, warmup_cap_s=2)
    assert report.row("b").verdict == "no difference"
    assert "interval wider than the margin of 2 %: b" in report.warnings


def test_outliers_stay_and_their_share_is_shown(machine, x):
    spiky = machine.changing(lambda s: 10.0 if s < 60 or len(machine.visits) % 10 else 100.0)
    report = compare({"a": machine.model(10.0), "b": spiky}, x, machine, rounds=200, seconds=60)
    row = report.row("b")
    assert row.samples == 200
    assert 0 <= row.outlier_share < 0.2


def test_report_is_json(machine, x):
    report = compare({"a": machine.model(10.0), "b": machine.model(11.0)}, x, machine, rounds=4)
    plain = report.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["rows"][1]["verdict"] == "slower"
    assert plain["self_test"].keys() == {"median", "low", "high"}


def test_a_report_prints_medians_ratios_verdicts_and_warnings(machine, x):
    models = {"a": machine.model(11.0), "b": machine.model(13.2)}
    report = compare(models, x, machine, rounds=20, margin=0.01, warmup_cap_s=2)
    text = str(report)
    words = [line.split() for line in text.splitlines()]
    assert words[:2] == [
        ["model", "median", "ms", "ratio", "verdict"],
        ["[5", "%,", "95", "%]", "[95", "%]"],
    ]
    assert words[3:5] == [["a", "11.0", "1", "base"], ["[11.0,", "11.0]"]]
    assert words[5] == ["b", "13.2", "1.200", "slower"]
    assert "20 rounds in" in text and "base against itself [1.000, 1.000]" in " ".join(text.split())
    assert text.count("warning:") == len(report.warnings)
    assert repr(report) == text and "<td" in report._repr_html_()
