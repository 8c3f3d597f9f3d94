"""Clocks: how long some forward passes take on this device."""

import time
from collections.abc import Callable
from typing import Protocol

import torch

Run = Callable[[], object]


class Timer(Protocol):
    """Times forward passes. A test may give its own."""

    def now_s(self) -> float:
        """Return the seconds of a clock that never goes back."""

    def time_ms(self, run: Run, passes: int) -> float:
        """Run ``passes`` forward passes, one after the other, and return their milliseconds."""


class HostTimer:
    """Wall time as the caller sees it: the host's work and, on a GPU, the wait for the result."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def now_s(self) -> float:
        """Return the seconds of the performance counter."""
        return time.perf_counter()

    def time_ms(self, run: Run, passes: int) -> float:
        """Return the wall time of ``passes`` passes; a GPU is waited for at both ends only."""
        self._wait()
        start = time.perf_counter_ns()
        for _ in range(passes):
            run()
        self._wait()
        return (time.perf_counter_ns() - start) / 1e6

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


class EventTimer:
    """Time on the GPU between two CUDA events: passes are queued, the host waits once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def now_s(self) -> float:
        """Return the seconds of the performance counter."""
        return time.perf_counter()

    def time_ms(self, run: Run, passes: int) -> float:
        """Return the milliseconds between the events around ``passes`` passes."""
        with torch.cuda.device(self._device):
            start, end = (_event() for _ in range(2))
            start.record()
            for _ in range(passes):
                run()
            end.record()
            end.synchronize()
            return start.elapsed_time(end)


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def timer_for(device: torch.device, quantity: str) -> Timer:
    """Return the clock: events for throughput on a GPU, the host's clock for all else."""
    if device.type == "cuda" and quantity == "throughput":
        return EventTimer(device)
    return HostTimer(device)
