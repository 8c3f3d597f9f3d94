"""The host's clock counts every pass, in milliseconds."""

import time

import pytest
import torch

from convgate.measure.timing import EventTimer, HostTimer, timer_for

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
