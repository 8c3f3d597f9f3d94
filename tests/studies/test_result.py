"""The answer must follow from the numbers, in each of its cases."""

from dataclasses import replace

import pytest

from convgate.studies import run_study
from convgate.studies.result import answer_of, idle_gates
from convgate.studies.tables import variant_table

BASE = {0: 70.0, 1: 71.0, 2: 72.0}
UP = {0: 71.0, 1: 72.1, 2: 72.9}  # differences 1.0, 1.1, 0.9: shown
DOWN = {0: 69.0, 1: 69.9, 2: 71.1}  # -1.0, -1.1, -0.9: shown
NOISE = {0: 73.0, 1: 70.0, 2: 73.0}  # 3, -1, 1: mean 1, not shown


@pytest.fixture
def base(row, cost):
    return row("none", BASE, cost=cost(1.0))


def test_a_gain_within_the_budget_is_named(base, row, cost):
    seln = row("seln", UP, BASE, cost(1.04, 1.03, 1.05))
    noise = row("eca", NOISE, BASE, cost(1.01, 1.0, 1.02))
    assert answer_of([base, noise, seln], 1.10) == (
        "Within 1.10x of the base's latency: seln (+1.00 points [+0.75, +1.25],"
        " 1.040x [1.030, 1.050]). The best mean of all, eca (+1.00 points [-3.97, +5.97], 1.010x"
        " [1.000, 1.020]), is not the choice: its difference may be chance."
    )


def test_of_two_gains_the_larger_is_named(base, row, cost):
    more = {seed: value + 1 for seed, value in UP.items()}
    rows = [
        row("se", UP, BASE, cost(1.01, 1.0, 1.02)),
        row("ela", more, BASE, cost(1.09, 1.08, 1.1)),
    ]
    assert answer_of([base, *rows], 1.10).startswith(
        "Within 1.10x of the base's latency: ela (+2.00"
    )


def test_the_whole_latency_interval_must_be_within(base, row, cost):
    late = row("cbam", UP, BASE, cost(1.09, 1.07, 1.101))
    assert answer_of([base, late], 1.10) == (
        "No gate lies within 1.10x of the base's latency; the base is the choice. Nearest: cbam"
        " (+1.00 points [+0.75, +1.25], 1.090x [1.070, 1.101]). Above the budget, cbam (+1.00"
        " points [+0.75, +1.25], 1.090x [1.070, 1.101]) shows a gain."
    )


def test_no_difference_shown_leaves_the_base(base, row, cost):
    rows = [row("eca", NOISE, BASE, cost(1.01, 1.0, 1.02))]
    line = answer_of([base, *rows], 1.10)
    assert line.startswith(
        "No gate within 1.10x of the base's latency shows a difference beyond its interval; the"
        " base is the choice. Best mean: eca (+1.00 points [-3.97, +5.97]"
    )


def test_a_loss_is_no_gain(base, row, cost):
    rows = [row("eca", DOWN, BASE, cost(1.01, 1.0, 1.02))]
    line = answer_of([base, *rows], 1.10)
    assert "shows a gain beyond its interval; the base is the choice" in line
    assert "-1.00 points [-1.25, -0.75]" in line


def test_a_gain_beyond_the_budget_is_told(base, row, cost):
    rows = [
        row("eca", NOISE, BASE, cost(1.01, 1.0, 1.02)),
        row("cbam", UP, BASE, cost(1.3, 1.29, 1.31)),
    ]
    line = answer_of([base, *rows], 1.10)
    assert line.startswith("No gate within 1.10x")
    assert line.endswith(
        "Above the budget, cbam (+1.00 points [+0.75, +1.25], 1.300x [1.290, 1.310]) shows a gain."
    )


def test_the_best_mean_beyond_the_budget_is_told_with_the_reason(base, row, cost):
    loud = {0: 74.0, 1: 71.0, 2: 74.0}  # differences 4, 0, 2: mean 2, not shown
    rows = [
        row("eca", NOISE, BASE, cost(1.01, 1.0, 1.02)),
        row("cbam", loud, BASE, cost(1.09, 1.07, 1.13)),
    ]
    line = answer_of([base, *rows], 1.10)
    assert "Best mean: eca (+1.00" in line
    assert line.endswith(
        "The best mean of all, cbam (+2.00 points [-2.97, +6.97], 1.090x [1.070, 1.130]), is not"
        " the choice: its latency interval reaches beyond 1.10x and its difference may be chance."
    )


def test_the_table_s_latency_is_the_one_drawn(base, row, cost):
    """A slow phase of the machine falls on all alike, so medians may order gates otherwise."""
    slow = replace(cost(1.04, 1.03, 1.05), median_ms=9.0)
    table = variant_table([base, row("se", UP, BASE, slow)], 1.1)
    assert table.rows[1][table.head.index("latency, ms")] == f"{slow.paired_ms:.3g}"


def test_one_seed_gives_no_interval(row, cost):
    rows = [
        row("none", {0: 70.0}, cost=cost(1.0)),
        row("se", {0: 71.0}, {0: 70.0}, cost(1.01, 1.0, 1.02)),
    ]
    assert answer_of(rows, 1.10) == (
        "No interval from one seed: within 1.10x of the base's latency the best mean is se (+1.00"
        " points, 1.010x [1.000, 1.020]); train at least three seeds before choosing."
    )


def test_without_base_or_candidate_there_is_no_answer_of(base, row, cost):
    assert "the base has no finished run" in answer_of([row("se", UP, cost=cost(1.0))], 1.10)
    assert "no gate has a finished run" in answer_of([base], 1.10)


def test_a_study_prints_as_its_table_and_its_answer(recipe, fake, tmp_path):
    gates = ["se", "seln", "cbam"]
    result = run_study(recipe, tmp_path, steps=fake, gates=gates, seeds=3, progress=False)
    lines = str(result).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == [
        "gate",
        *["top-1,", "%", "difference", "latency", "ratio", "params", "MACs", "dist."],
    ]
    names = [line.split()[0] for line in lines if line[:1].isalpha()]
    assert names[1:5] == ["none", *gates]
    assert " ".join(lines[lines.index("") :]).split() == result.answer.split()
    assert "<td" in result._repr_html_() and result.answer.split(".")[0] in result._repr_html_()


def test_a_doubtful_latency_ends_the_answer_with_each_reason_once(recipe, fake, tmp_path):
    result = run_study(recipe, tmp_path, steps=fake, gates=["se"], seeds=3, progress=False)
    sure = result.answer
    ((name, taken),) = result.latency.items()
    warnings = ["unreliable: the spread is 9.0 %", "interval wider than the margin of 2 %: se"]
    doubtful = {name: taken | {"reliable": False, "warnings": warnings}}
    result = replace(result, measured=replace(result.measured, conditions=doubtful))
    assert result.answer == (
        f"{sure} The latency is not reliable: the spread is 9.0 %; interval wider than the margin"
        " of 2 %: se."
    )


def test_gates_that_did_not_act_are_named(base, row, cost):
    """2^-8 is 0.39 %: the spacing of bfloat16 below 1."""
    still, acts = (
        replace(row(name, UP, BASE, cost(1.0)), moved=moved)
        for name, moved in (("se", 0.0038), ("eca", 0.0040))
    )
    assert idle_gates([base, acts]) == ""
    line = idle_gates([base, still, acts])
    assert "did not act (they change their input by less than 0.39 %): se;" in line
    table = variant_table([base, still, acts], 1.1)
    assert [line[table.head.index("gates moved, %")] for line in table.rows] == ["", "0.38", "0.40"]
