"""Every candidate runs in the same setting, and afterwards everything is as it was."""

import pytest
import torch
from torch import nn

from convgate.measure import Setting, compare_latency

FAST = {"rounds": 3, "warmup_s": 0.01, "warmup_cap_s": 0.5}


def test_models_are_left_as_they_were(x):
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    state = {key: value.clone() for key, value in net.state_dict().items()}
    threads = torch.get_num_threads()
    compare_latency({"a": net}, x, **FAST, dtype="bfloat16", channels_last=True, threads=2)
    assert net.training
    assert torch.get_num_threads() == threads
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert net[0].weight.dtype == torch.float32


def test_every_candidate_runs_in_the_asked_setting(x):
    seen = set()

    class Spy(nn.Module):
        def forward(self, x):
            strides = x.is_contiguous(memory_format=torch.channels_last)
            now = (self.training, torch.is_inference_mode_enabled(), x.dtype, strides)
            seen.add((*now, torch.get_num_threads()))
            return x

    report = compare_latency(
        {"a": Spy()}, x, **FAST, dtype="bfloat16", channels_last=True, threads=2
    )
    assert seen == {(False, True, torch.bfloat16, True, 2)}
    assert report.environment["threads"] == "2"
    assert report.environment["dtype"] == "bfloat16"
    assert report.setting.channels_last


def switches():
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    places = cuda.matmul, cudnn.conv, cudnn.rnn
    return [p.fp32_precision for p in places], cuda.matmul.allow_tf32, cudnn.allow_tf32


@pytest.mark.parametrize("allowed", [False, True])
def test_tf32_is_off_unless_asked_for(x, allowed):
    before = switches()
    with Setting().applied():
        _, matmul, cudnn = switches()
        assert (matmul, cudnn) == (False, False)
    assert switches() == before
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        changed = switches()
        with Setting(tf32=True).applied():
            assert switches() == (["tf32"] * 3, True, True)
        assert switches() == changed
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before[1]
        torch.backends.cuda.matmul.fp32_precision = before[0][0]
    assert switches() == before


def test_an_error_inside_gives_everything_back():
    before, threads = switches(), torch.get_num_threads()
    with pytest.raises(KeyError), Setting(tf32=True, threads=threads + 1).applied():
        raise KeyError
    assert (switches(), torch.get_num_threads()) == (before, threads)
