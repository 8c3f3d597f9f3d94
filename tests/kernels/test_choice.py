"""The fastest form is found once for each case, and not where nothing can be timed."""

from types import SimpleNamespace

import pytest
import torch

from convgate.kernels import choice

pytest.importorskip("triton")


@pytest.fixture
def timed(monkeypatch):
    """Stand in for a device: forms return their milliseconds, one after another."""
    asked = []

    def milliseconds(form, device):
        assert device == "cuda:0"
        asked.append(form)
        return form()

    monkeypatch.setattr(choice, "_milliseconds", milliseconds)
    monkeypatch.setattr(choice, "_fastest", {})
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    return asked


def on_device(*shape):
    return SimpleNamespace(is_cuda=True, device="cuda:0", shape=shape, dtype=torch.float32)


def test_the_least_median_wins_and_is_remembered(timed):
    slow = iter([0.0, *[2.0] * choice.ROUNDS])  # the first pass does not count
    fast = iter([9.0, 9.0, *[1.0] * (choice.ROUNDS - 1)])  # nor does one slow round
    forms = [lambda: next(slow), lambda: next(fast)]
    assert choice.fastest(forms, on_device(2, 3), "block") is forms[1]
    assert timed == forms * choice.ROUNDS
    assert choice.fastest(forms, on_device(2, 3), "block") is forms[1]
    assert len(timed) == 2 * choice.ROUNDS


def test_a_form_that_the_device_cannot_hold_is_left_out(timed):
    from convgate.kernels.fused.launch import OutOfResources

    def too_large():
        raise OutOfResources(200_000, 101_376, "shared memory")

    fits = lambda: 1.0  # noqa: E731
    assert choice.fastest([too_large, fits], on_device(2, 3), "block") is fits
    assert set(timed) == {fits}


def test_every_size_and_computation_is_a_case_of_its_own(timed):
    forms = [lambda: 1.0, lambda: 2.0]
    for x, key in ((on_device(2, 3), "a"), (on_device(2, 4), "a"), (on_device(2, 3), "b")):
        assert choice.fastest(forms, x, key) is forms[0]
    assert len(timed) == 3 * 2 * choice.ROUNDS


def test_on_a_cpu_and_in_a_captured_graph_the_first_is_taken_untimed(timed, monkeypatch):
    forms = [lambda: 2.0, lambda: 1.0]
    assert choice.fastest(forms, torch.zeros(1)) is forms[0]
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert choice.fastest(forms, on_device(1)) is forms[0]
    assert not timed
