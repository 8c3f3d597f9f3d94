"""Warm-up, passes, order and the end of the rounds, on a clock without noise."""

import pytest

from convgate.measure.rounds import Plan, Rival, is_stable, ratios, run_rounds, warm_up


def rival(machine, name, *times_ms):
    model = machine.model(*times_ms, name=name)
    return Rival(name, lambda: model(None))


def test_warm_up_takes_a_second_and_twenty_runs(machine):
    fast, slow = rival(machine, "fast", 1.0), rival(machine, "slow", 200.0)
    warm_up([fast, slow], machine, Plan())
    assert fast.settled
    assert slow.settled
    assert machine.now_s() >= 1
    assert slow.warmup_runs >= 20
    assert fast.samples_ms == slow.visits_ms == []
    alone = rival(machine, "alone", 1.0)
    start = machine.now_s()
    warm_up([alone], machine, Plan())
    assert 1 <= machine.now_s() - start < 1.1
    assert alone.warmup_runs >= 1000
    patient = rival(machine, "patient", 10.0)
    warm_up([patient], machine, Plan(warmup_runs=700))
    assert 700 <= patient.warmup_runs < 710


def test_a_model_that_keeps_getting_slower_is_not_settled_at_the_cap(machine):
    creeping = Rival("creeping", lambda: machine.changing(lambda s: 20 * 1.2**s)(None))
    calm = rival(machine, "calm", 20.0)
    warm_up([creeping, calm], machine, Plan(warmup_cap_s=10))
    assert not creeping.settled
    assert calm.settled
    assert 10 <= machine.now_s() < 11


def test_warm_up_waits_for_a_slow_start(machine):
    late = rival(machine, "late", *[40.0] * 35, 20.0)
    warm_up([late], machine, Plan())
    # Windows of ten visits straddle the change until 35 slow and some fast visits are past.
    assert late.settled
    assert not is_stable([40.0] * 10 + [20.0] * 10)
    assert is_stable([20.0] * 10 + [20.1] * 10)
    assert not is_stable([20.0] * 19)


def test_a_visit_lasts_at_least_the_sample_time(machine):
    tiny, big = rival(machine, "tiny", 0.3), rival(machine, "big", 12.0)
    warm_up([tiny, big], machine, Plan(sample_ms=5))
    assert (tiny.passes, big.passes) == (17, 1)


def test_latency_times_each_pass_and_throughput_all_together(machine):
    one_by_one = rival(machine, "a", 1.0, 2.0, 6.0)
    one_by_one.passes = 3
    one_by_one.visit(machine, pipelined=False)
    assert one_by_one.samples_ms == pytest.approx([1, 2, 6])
    assert one_by_one.visits_ms == pytest.approx([2])
    together = rival(machine, "b", 1.0, 2.0, 6.0)
    together.passes = 3
    together.visit(machine, pipelined=True)
    assert together.samples_ms == together.visits_ms == pytest.approx([3])


def test_a_single_pass_is_timed_after_an_untimed_one(machine):
    big, small = rival(machine, "big", *[9.0, 5.0] * 3), rival(machine, "small", 1.0, 2.0, 3.0)
    small.passes = 3
    run_rounds([big], machine, Plan(rounds=3))
    run_rounds([small], machine, Plan(rounds=3))
    assert big.samples_ms == pytest.approx([5, 5, 5])
    assert small.samples_ms[:3] == pytest.approx([1, 2, 3])


def test_every_round_visits_each_rival_once_in_a_changing_order(machine):
    names = ("base", "b", "c")
    rivals = [rival(machine, name, 10.0) for name in names]
    for each in rivals:
        each.passes = 3
    run_rounds(rivals, machine, Plan(rounds=12))
    rounds = [tuple(machine.visits[i : i + 9 : 3]) for i in range(0, len(machine.visits), 9)]
    assert len(rounds) == 12
    assert all(set(order) == set(names) for order in rounds)
    assert len(set(rounds)) > 2


def test_the_order_follows_the_seed(machine):
    def order(seed):
        machine.visits.clear()
        run_rounds([rival(machine, n, 1.0) for n in "abcd"], machine, Plan(rounds=8, seed=seed))
        return list(machine.visits)

    assert order(1) == order(1) != order(2)


def test_ratios_are_paired_so_that_drift_cancels(machine):
    def times(factor):
        return lambda: machine.changing(lambda s: factor * (10 + s))(None)

    base, other = Rival("base", times(1.0), passes=3), Rival("other", times(1.5), passes=3)
    run_rounds([base, other], machine, Plan(rounds=30))
    assert max(base.visits_ms) > 1.15 * min(base.visits_ms)  # the machine slows down,
    assert ratios(other, base) == pytest.approx([1.5] * 30, rel=0.01)  # and both with it


def test_rounds_end_when_narrow_when_over_or_when_counted(machine):
    def calm():
        return [rival(machine, name, 10.0) for name in "ab"]

    assert run_rounds(calm(), machine, Plan(seconds=20)) == "narrow"
    assert run_rounds(calm(), machine, Plan(rounds=5)) == "rounds"
    noisy = rival(machine, "noisy", *[10.0, 10.0, 30.0, 30.0] * 500)
    start = machine.now_s()
    assert run_rounds([*calm(), noisy], machine, Plan(seconds=3)) == "time"
    assert 3 <= machine.now_s() - start < 3.2
