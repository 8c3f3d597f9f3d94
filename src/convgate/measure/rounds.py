"""Warm-up by time and stability, and rounds in random order with the base in every round."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from convgate.measure.statistics import bootstrap_median, median
from convgate.measure.timing import Run, Timer

Progress = Callable[[str, float], None]

_WINDOW = 10  # visits, at least
_MOST_PASSES = 10_000
_FEWEST_ROUNDS = 3


@dataclass(frozen=True)
class Plan:
    """When warming up and measuring are over.

    Attributes:
        rounds: exactly so many rounds; None goes on until every interval of a ratio is narrower
            than the margin, or ``seconds`` are over.
        seconds: the cap on the time that the rounds take, without warm-up.
        margin: a difference below this share of the base's latency is none.
        seed: of the order within the rounds and of the bootstrap.
        pipelined: passes are queued and timed together, not one by one.
        sample_ms: a visit to a rival lasts at least so long.
        warmup_s: least seconds of warm-up, of all rivals together.
        warmup_runs: least forward passes of warm-up for each rival.
        warmup_cap_s: most seconds of warm-up, of all rivals together.
    """

    rounds: int | None = None
    seconds: float = 20.0
    margin: float = 0.02
    seed: int = 0
    pipelined: bool = False
    sample_ms: float = 5.0
    warmup_s: float = 1.0
    warmup_runs: int = 20
    warmup_cap_s: float = 30.0


@dataclass
class Rival:
    """One model and its samples.

    Attributes:
        run: one forward pass.
        passes: forward passes in a visit.
        samples_ms: milliseconds of every sample, divided by the passes in it.
        visits_ms: the median of the samples of each visit, one a round.
    """

    name: str
    run: Run
    passes: int = 1
    samples_ms: list[float] = field(default_factory=list)
    visits_ms: list[float] = field(default_factory=list)
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
        least = math.ceil(sample_ms / max(pass_ms, 1e-6))
        self.passes = min(max(1, least), _MOST_PASSES)


def warm_up(
    rivals: Sequence[Rival], timer: Timer, plan: Plan, report: Progress = lambda text, share: None
) -> None:
    """Visit the rivals in turn until each one is settled, then fix its passes in a visit.

    A rival is settled when `Plan.warmup_s` are over, it has run `Plan.warmup_runs` times, and the
    medians of two consecutive windows of its visits agree within 1 %. A window is a third of the
    visits so far, but at least ten, so that more noise gets longer windows. Who is not settled at
    the cap stays unsettled.
    """
    start, cap = timer.now_s(), plan.warmup_cap_s
    for rival in rivals:
        rival.run()  # compiles, tunes and allocates
        rival.fit_passes(median([timer.time_ms(rival.run, 1) for _ in range(3)]), plan.sample_ms)
        rival.warmup_runs += 4
    while not all(rival.settled for rival in rivals) and timer.now_s() - start < cap:
        for rival in rivals:
            rival.visit(timer, plan.pipelined)
            rival.warmup_runs += rival.passes
            enough = timer.now_s() - start >= plan.warmup_s
            enough = enough and rival.warmup_runs >= plan.warmup_runs
            rival.settled = rival.settled or (enough and is_stable(rival.visits_ms))
        report("warm-up", min(1.0, (timer.now_s() - start) / cap))
    for rival in rivals:
        recent = rival.visits_ms[-_WINDOW:]
        if recent:
            rival.fit_passes(median(recent), plan.sample_ms)
        rival.samples_ms, rival.visits_ms = [], []


def is_stable(values: Sequence[float], tolerance: float = 0.01) -> bool:
    """Say whether the medians of the last two windows agree."""
    window = max(_WINDOW, len(values) // 3)
    if len(values) < 2 * window:
        return False
    earlier, later = median(values[-2 * window : -window]), median(values[-window:])
    return abs(later - earlier) <= tolerance * earlier


def run_rounds(
    rivals: Sequence[Rival], timer: Timer, plan: Plan, report: Progress = lambda text, share: None
) -> str:
    """Visit every rival once a round, in random order, and return why it ended.

    The first rival is the base. The answer is "rounds" if a fixed number was asked for, "narrow" if
    every interval got narrower than the margin, "time" if the seconds were over.
    """
    order = random.Random(plan.seed)
    start, check_at = timer.now_s(), 20
    while True:
        for rival in order.sample(rivals, len(rivals)):
            # The rival before has emptied the caches, another one each round; where too few passes
            # follow for their median to forget the first, that one is not timed.
            if rival.passes < 3:
                rival.run()
            rival.visit(timer, plan.pipelined)
        done, share = len(rivals[0].visits_ms), (timer.now_s() - start) / plan.seconds
        if plan.rounds is not None:
            share = done / plan.rounds
        report("rounds", min(1.0, share))
        if share >= 1 and done >= _FEWEST_ROUNDS:
            return "time" if plan.rounds is None else "rounds"
        if plan.rounds is None and done >= check_at:
            check_at = math.ceil(1.5 * check_at)
            if _widest(rivals, plan.seed) < plan.margin:
                return "narrow"


def ratios(rival: Rival, base: Rival) -> list[float]:
    """Return the latency over the base's, round by round."""
    pairs = zip(rival.visits_ms, base.visits_ms, strict=True)
    return [mine / its for mine, its in pairs]


def _widest(rivals: Sequence[Rival], seed: int) -> float:
    base, *others = rivals
    widths = [bootstrap_median(ratios(r, base), seed=seed, resamples=500).width for r in others]
    return max(widths, default=0.0)
