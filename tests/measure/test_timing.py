"""Clocks; warm-up, passes, order and the end of the rounds, on a clock without noise."""

import time

import pytest
import torch

from convgate.measure.timing import (
    Candidate,
    EventTimer,
    HostTimer,
    TimingPlan,
    is_stable,
    ratios,
    run_rounds,
    timer_for,
    warm_up,
)

CPU = torch.device("cpu")


def test_host_timer_runs_every_pass_and_counts_milliseconds():
    passes = []

    def run():
        passes.append(1)
        time.sleep(0.004)

    taken_ms = HostTimer(CPU).time_ms(run, 3)
    assert len(passes) == 3
    assert 12 <= taken_ms < 2000  # a sleep is never shorter than asked for


def test_clock_counts_seconds_forwards():
    timer = HostTimer(CPU)
    start = timer.now_s()
    time.sleep(0.01)
    assert 0.01 <= timer.now_s() - start < 2


@pytest.mark.parametrize("quantity", ["latency", "throughput"])
def test_events_are_for_throughput_on_a_gpu(quantity):
    assert isinstance(timer_for(CPU, quantity), HostTimer)
    on_gpu = timer_for(torch.device("cuda"), quantity)
    assert isinstance(on_gpu, EventTimer if quantity == "throughput" else HostTimer)


def candidate(machine, name, *times_ms):
    model = machine.model(*times_ms, name=name)
    return Candidate(name, lambda: model(None))


def test_warm_up_takes_a_second_and_twenty_runs(machine):
    fast, slow = candidate(machine, "fast", 1.0), candidate(machine, "slow", 200.0)
    warm_up([fast, slow], machine, TimingPlan())
    assert fast.settled
    assert slow.settled
    assert machine.now_s() >= 1
    assert slow.warmup_runs >= 20
    assert fast.samples_ms == slow.visits_ms == []
    alone = candidate(machine, "alone", 1.0)
    start = machine.now_s()
    warm_up([alone], machine, TimingPlan())
    assert 1 <= machine.now_s() - start < 1.1
    assert alone.warmup_runs >= 1000
    patient = candidate(machine, "patient", 10.0)
    warm_up([patient], machine, TimingPlan(warmup_runs=700))
    assert 700 <= patient.warmup_runs < 710


def test_a_model_that_keeps_getting_slower_is_not_settled_at_the_cap(machine):
    creeping = Candidate("creeping", lambda: machine.changing(lambda s: 20 * 1.2**s)(None))
    calm = candidate(machine, "calm", 20.0)
    warm_up([creeping, calm], machine, TimingPlan(warmup_cap_s=10))
    assert not creeping.settled
    assert calm.settled
    assert 10 <= machine.now_s() < 11


def test_warm_up_waits_for_a_slow_start(machine):
    late = candidate(machine, "late", *[40.0] * 35, 20.0)
    warm_up([late], machine, TimingPlan())
    # Windows of ten visits straddle the change until 35 slow and some fast visits are past.
    assert late.settled
    assert not is_stable([40.0] * 10 + [20.0] * 10)
    assert is_stable([20.0] * 10 + [20.1] * 10)
    assert not is_stable([20.0] * 19)


def test_a_visit_lasts_at_least_the_sample_time(machine):
    tiny, big = candidate(machine, "tiny", 0.3), candidate(machine, "big", 12.0)
    warm_up([tiny, big], machine, TimingPlan(sample_ms=5))
    assert (tiny.passes, big.passes) == (17, 1)


def test_latency_times_each_pass_and_throughput_all_together(machine):
    one_by_one = candidate(machine, "a", 1.0, 2.0, 6.0)
    one_by_one.passes = 3
    one_by_one.visit(machine, pipelined=False)
    assert one_by_one.samples_ms == pytest.approx([1, 2, 6])
    assert one_by_one.visits_ms == pytest.approx([2])
    together = candidate(machine, "b", 1.0, 2.0, 6.0)
    together.passes = 3
    together.visit(machine, pipelined=True)
    assert together.samples_ms == together.visits_ms == pytest.approx([3])


def test_a_single_pass_is_timed_after_an_untimed_one(machine):
    big, small = (
        candidate(machine, "big", *[9.0, 5.0] * 3),
        candidate(machine, "small", 1.0, 2.0, 3.0),
    )
    small.passes = 3
    run_rounds([big], machine, TimingPlan(rounds=3))
    run_rounds([small], machine, TimingPlan(rounds=3))
    assert big.samples_ms == pytest.approx([5, 5, 5])
    assert small.samples_ms[:3] == pytest.approx([1, 2, 3])


def test_every_round_visits_each_candidate_once_in_a_changing_order(machine):
    names = ("base", "b", "c")
    candidates = [candidate(machine, name, 10.0) for name in names]
    for each in candidates:
        each.passes = 3
    run_rounds(candidates, machine, TimingPlan(rounds=12))
    rounds = [tuple(machine.visits[i : i + 9 : 3]) for i in range(0, len(machine.visits), 9)]
    assert len(rounds) == 12
    assert all(set(order) == set(names) for order in rounds)
    assert len(set(rounds)) > 2


def test_the_order_follows_the_seed(machine):
    def order(seed):
        machine.visits.clear()
        run_rounds(
            [candidate(machine, n, 1.0) for n in "abcd"], machine, TimingPlan(rounds=8, seed=seed)
        )
        return list(machine.visits)

    assert order(1) == order(1) != order(2)


def test_ratios_are_paired_so_that_drift_cancels(machine):
    def times(factor):
        return lambda: machine.changing(lambda s: factor * (10 + s))(None)

    base, other = Candidate("base", times(1.0), passes=3), Candidate("other", times(1.5), passes=3)
    run_rounds([base, other], machine, TimingPlan(rounds=30))
    assert max(base.visits_ms) > 1.15 * min(base.visits_ms)  # the machine slows down,
    assert ratios(other, base) == pytest.approx([1.5] * 30, rel=0.01)  # and both with it


def test_rounds_end_when_narrow_when_over_or_when_counted(machine):
    def calm():
        return [candidate(machine, name, 10.0) for name in "ab"]

    assert run_rounds(calm(), machine, TimingPlan(seconds=20)) == "narrow"
    assert run_rounds(calm(), machine, TimingPlan(rounds=5)) == "rounds"
    noisy = candidate(machine, "noisy", *[10.0, 10.0, 30.0, 30.0] * 500)
    start = machine.now_s()
    assert run_rounds([*calm(), noisy], machine, TimingPlan(seconds=3)) == "time"
    assert 3 <= machine.now_s() - start < 3.2
