"""The sum of latencies: what it predicts, how far it is off, what it is not trusted with."""

import pytest

from convgate.errors import InputError
from convgate.searches.latency import LatencyModel, Ratio, draw_checks, read_latency
from convgate.searches.space import Space

SPACE = Space("block_end", {1: ("none", "se", "eca"), 2: ("none", "se"), 4: ("none", "eca")})
ALONE = {
    ("se", "none", "none"): 1.10,
    ("eca", "none", "none"): 1.04,
    ("none", "se", "none"): 1.05,
    ("none", "none", "eca"): 1.02,
}


def ratio(value, half=0.01):
    return Ratio(value, value - half, value + half, value)


@pytest.fixture
def latency():
    checks = {("se", "se", "none"): ratio(1.18), ("eca", "se", "eca"): ratio(1.10)}
    return LatencyModel(1.0, {c: ratio(r) for c, r in ALONE.items()}, checks, SPACE)


def test_the_sum_adds_what_each_gate_costs_alone(latency):
    assert latency.predict(SPACE.plain) == 1
    assert latency.predict(("eca", "none", "none")) == pytest.approx(1.04)
    assert latency.predict(("se", "se", "eca")) == pytest.approx(1 + 0.10 + 0.05 + 0.02)


def test_its_error_is_taken_on_what_it_has_not_seen(latency):
    assert latency.errors == pytest.approx([1.15 - 1.18, 1.11 - 1.10])
    assert latency.tolerance == pytest.approx(0.03)
    assert "off by 0.020x on average and 0.030x at most, on 2 random" in latency.describe()


def test_what_may_fit_is_looked_at_as_far_as_the_error_goes(latency):
    assert latency.may_fit(("se", "se", "none"), 1.125)  # 1.15 predicted, 0.03 off at most
    assert not latency.may_fit(("se", "se", "eca"), 1.125)


def test_a_budget_that_nothing_meets_names_the_cheapest(latency):
    cheap = LatencyModel(1.0, latency.singles, {}, SPACE)
    with pytest.raises(InputError, match=r"nothing meets it; the cheapest is 4=eca at 1\.020x"):
        cheap.check_budget(1.01)
    latency.check_budget(1.01)  # 0.03 off at most


def test_checks_are_combinations_of_several_gates_each_once():
    drawn = draw_checks(SPACE, 10, seed=0)
    every = {("se", "se", "none"), ("se", "none", "eca"), ("se", "se", "eca")} | {
        ("eca", "se", "none"), ("eca", "none", "eca"), ("eca", "se", "eca"), ("none", "se", "eca"),
    }  # fmt: skip
    assert len(drawn) == 7 and set(drawn) == every  # 12 points, without plain and four singles
    assert draw_checks(SPACE, 3, seed=0) == drawn[:3]


def test_what_was_measured_is_read_back(latency, tmp_path):
    latency.write(tmp_path / "latency.json")
    assert read_latency(tmp_path / "latency.json", SPACE) == latency
    assert read_latency(tmp_path / "none.json", SPACE) is None


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "latency.json").write_text("[]")
    with pytest.raises(InputError, match="not a search's latencies"):
        read_latency(tmp_path / "latency.json", SPACE)
