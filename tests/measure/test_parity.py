"""A form that is not the function it claims to be is never timed."""

import pytest
from torch import nn

from convgate.errors import InputError
from convgate.measure import compare_latency

FAST = {"rounds": 3, "warmup_s": 0.01, "warmup_cap_s": 0.5}


def test_a_wrong_form_is_never_timed(x):
    right, wrong = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
    same = nn.Sequential(right)
    with pytest.raises(
        InputError, match=r"wrong: its output differs .* a wrong model is not timed"
    ):
        compare_latency({"a": right, "wrong": wrong}, x, **FAST, parity_with={"wrong": "a"})
    with pytest.raises(InputError, match="have shapes"):
        compare_latency({"a": right, "f": nn.Flatten()}, x, **FAST, parity_with={"f": "a"})
    with pytest.raises(InputError, match="unknown model 'b'"):
        compare_latency({"a": right}, x, **FAST, parity_with={"a": "b"})
    report = compare_latency(
        {"a": right, "same": same},
        x,
        rounds=3,
        warmup_s=0.01,
        warmup_cap_s=0.5,
        parity_with={"same": "a"},
    )
    assert report.rounds == 3


def test_a_result_that_is_not_a_number_is_never_timed(x):
    broken = nn.Conv2d(3, 4, 1)
    nn.init.constant_(broken.weight, float("nan"))
    with pytest.raises(InputError, match="differs from the reference by nan"):
        compare_latency({"a": nn.Conv2d(3, 4, 1), "b": broken}, x, **FAST, parity_with={"b": "a"})
