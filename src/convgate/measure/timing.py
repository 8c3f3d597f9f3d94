"""Clocks, warm-up by time and stability, and rounds in random order with the base in every one."""

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch

from convgate.measure.statistics import bootstrap_median, median

Run = Callable[[], object]
Progress = Callable[[str, float], None]

_WINDOW = 10  # visits, at least
_MAX_PASSES = 10_000
_MIN_ROUNDS = 3


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


class EventTimer(HostTimer):
    """Time on the GPU between two CUDA events: passes are queued, the host waits once."""

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


@dataclass(frozen=True)
class TimingPlan:
    """When warming up and measuring are over."""

    # exactly so many rounds; None goes on until every interval of a ratio is narrower than the
    # margin, or ``seconds`` are over
    rounds: int | None = None
    seconds: float = 20.0  # the cap on the time that the rounds take, without warm-up
    margin: float = 0.02  # a difference below this share of the base's latency is none
    seed: int = 0  # of the order within the rounds and of the bootstrap
    pipelined: bool = False  # passes are queued and timed together, not one by one
    sample_ms: float = 5.0  # a visit to a candidate lasts at least so long
    warmup_s: float = 1.0  # min seconds of warm-up, of all candidates together
    warmup_runs: int = 20  # min forward passes of warm-up for each candidate
    warmup_cap_s: float = 30.0  # max seconds of warm-up, of all candidates together


@dataclass
class Candidate:
    """One model and its samples."""

    name: str
    run: Run  # one forward pass
    passes: int = 1  # forward passes in a visit
    samples_ms: list[float] = field(default_factory=list)  # of a pass, sample by sample
    visits_ms: list[float] = field(default_factory=list)  # median of each visit, one a round
    warmup_runs: int = 0
    settled: bool = False

    def visit(self, timer: Timer, pipelined: bool) -> float:
        """Take the samples of one visit and return their median."""
        if pipelined:
            samples = [timer.time_ms(self.run, self.passes) / self.passes]
        else:
            samples = [timer.time_ms(self.run, 1) for _ in range(self.passes)]
        self.samples_ms += samples
        self.visits_ms.append(median(samples))
        return self.visits_ms[-1]

    def fit_passes(self, pass_ms: float, sample_ms: float) -> None:
        """Choose the passes of a visit so that it lasts ``sample_ms``."""
        fewest = math.ceil(sample_ms / max(pass_ms, 1e-6))
        self.passes = min(max(1, fewest), _MAX_PASSES)


def warm_up(
    candidates: Sequence[Candidate],
    timer: Timer,
    plan: TimingPlan,
    report: Progress = lambda text, share: None,
) -> None:
    """Visit the candidates in turn until each one is settled, then fix its passes in a visit.

    A candidate is settled when ``plan.warmup_s`` are over, it has run ``plan.warmup_runs`` times,
    and the medians of two consecutive windows of its visits agree within 1 %. A window is a third
    of the visits so far, but at least ten, so that more noise gets longer windows. Who is not
    settled at the cap stays unsettled.
    """
    start, cap = timer.now_s(), plan.warmup_cap_s
    for candidate in candidates:
        candidate.run()  # compiles, tunes and allocates
        candidate.fit_passes(
            median([timer.time_ms(candidate.run, 1) for _ in range(3)]), plan.sample_ms
        )
        candidate.warmup_runs += 4
    while not all(candidate.settled for candidate in candidates) and timer.now_s() - start < cap:
        for candidate in candidates:
            candidate.visit(timer, plan.pipelined)
            candidate.warmup_runs += candidate.passes
            enough = timer.now_s() - start >= plan.warmup_s
            enough = enough and candidate.warmup_runs >= plan.warmup_runs
            candidate.settled = candidate.settled or (enough and is_stable(candidate.visits_ms))
        report("warm-up", min(1.0, (timer.now_s() - start) / cap))
    for candidate in candidates:
        recent = candidate.visits_ms[-_WINDOW:]
        if recent:
            candidate.fit_passes(median(recent), plan.sample_ms)
        candidate.samples_ms, candidate.visits_ms = [], []


def is_stable(values: Sequence[float], tolerance: float = 0.01) -> bool:
    """Say whether the medians of the last two windows agree."""
    window = max(_WINDOW, len(values) // 3)
    if len(values) < 2 * window:
        return False
    earlier, later = median(values[-2 * window : -window]), median(values[-window:])
    return abs(later - earlier) <= tolerance * earlier


def run_rounds(
    candidates: Sequence[Candidate],
    timer: Timer,
    plan: TimingPlan,
    report: Progress = lambda text, share: None,
) -> str:
    """Visit every candidate once a round, in random order, and return why it ended.

    The first candidate is the base. The answer is "rounds" if a fixed number was asked for,
    "narrow" if every interval got narrower than the margin, "time" if the seconds were over.
    """
    order = random.Random(plan.seed)
    start, check_at = timer.now_s(), 20
    while True:
        for candidate in order.sample(candidates, len(candidates)):
            # The one before has emptied the caches, another one each round; where too few passes
            # follow for their median to forget the first, that one is not timed.
            if candidate.passes < 3:
                candidate.run()
            candidate.visit(timer, plan.pipelined)
        done, share = len(candidates[0].visits_ms), (timer.now_s() - start) / plan.seconds
        if plan.rounds is not None:
            share = done / plan.rounds
        report("rounds", min(1.0, share))
        if share >= 1 and done >= _MIN_ROUNDS:
            return "time" if plan.rounds is None else "rounds"
        if plan.rounds is None and done >= check_at:
            check_at = math.ceil(1.5 * check_at)
            if _widest(candidates, plan.seed) < plan.margin:
                return "narrow"


def ratios(candidate: Candidate, base: Candidate) -> list[float]:
    """Return the latency over the base's, round by round."""
    pairs = zip(candidate.visits_ms, base.visits_ms, strict=True)
    return [mine / its for mine, its in pairs]


def _widest(candidates: Sequence[Candidate], seed: int) -> float:
    base, *others = candidates
    widths = [bootstrap_median(ratios(r, base), seed=seed, resamples=500).width for r in others]
    return max(widths, default=0.0)
