"""What a comparison of latencies says: rows, self-test, guards, conditions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from convgate.measure.settings import Setting
from convgate.measure.statistics import (
    Interval,
    Verdict,
    bootstrap_median,
    drift,
    outlier_share,
    quantile,
    spread,
    verdict,
)
from convgate.measure.timing import Candidate, TimingPlan, ratios
from convgate.tables import Readable, Table, short_number

MAX_SPREAD = 0.05
MAX_DRIFT = 0.03


@dataclass(frozen=True)
class LatencyRow(Readable):
    name: str
    median_ms: float  # of a forward pass of the whole batch; no outlier is left out
    q05_ms: float  # the 5 % quantile of the same
    q95_ms: float  # the 95 % quantile
    images_per_s: float  # the batch over the median
    ratio: float  # median over the rounds of this model's latency over the base's
    ratio_low: float  # lower end of its bootstrap 95 % interval
    ratio_high: float  # upper end
    # "faster" or "slower" if the whole interval lies beyond the margin, else "no difference";
    # "base" for the base itself
    verdict: Verdict
    narrow: bool  # whether the interval is narrower than the margin
    outlier_share: float  # share of the samples beyond 1.5 interquartile ranges
    samples: int  # how many samples there are
    passes: int  # forward passes in a visit
    settled: bool  # whether the warm-up ended in agreement
    warmup_runs: int  # forward passes of warm-up

    def cells(self) -> tuple[str, ...]:
        quantiles = f"[{short_number(self.q05_ms)}, {short_number(self.q95_ms)}]"
        latency = f"{short_number(self.median_ms)}\n{quantiles}"
        if self.verdict == "base":
            return latency, "1", "base"
        interval = f"[{self.ratio_low:.3f}, {self.ratio_high:.3f}]"
        return latency, f"{self.ratio:.3f}\n{interval}", self.verdict.replace(" ", "\n")


class TimingReport(Readable):
    """Times of models: one row each, and what has to be known of them."""

    HEADS: ClassVar[tuple[str, ...]]
    rows: Any

    def table(self) -> Table:
        rows = [(row.name, *row.cells()) for row in self.rows]
        return Table(("model", *self.HEADS), rows, "l" + "r" * len(self.HEADS), notes=self.notes())

    def notes(self) -> list[str]:
        """Return the lines below the table."""
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class LatencyReport(TimingReport):
    """All models and whether to believe them."""

    base: str
    rows: tuple[LatencyRow, ...]  # the base first
    self_test: Interval  # the ratio of the base's second run in each round to its first
    base_spread: float  # interquartile range of the base's rounds over their median
    base_drift: float  # change of the base's median from the first to the last third of the rounds
    batch: int
    input_shape: tuple[int, ...]
    rounds: int
    seconds: float
    stopped: str  # "narrow", "time" or "rounds"
    margin: float
    seed: int
    reliable: bool
    warnings: tuple[str, ...]  # sentences on what failed; ``reliable``: no guard is among them
    environment: dict[str, str]
    setting: Setting = field(default_factory=Setting)

    HEADS: ClassVar = ("median ms\n[5 %, 95 %]", "ratio\n[95 %]", "verdict")

    def notes(self) -> list[str]:
        why = {"narrow": "the intervals were narrow", "time": "the seconds were over"}
        return [
            f"{self.environment['quantity']} of batch {self.batch}: {self.rounds} rounds in "
            f"{self.seconds:.1f} s, until {why.get(self.stopped, 'the rounds were done')}; "
            f"margin {self.margin:.0%}; base against itself "
            f"[{self.self_test.low:.3f}, {self.self_test.high:.3f}]",
            *(f"warning: {warning}" for warning in self.warnings),
        ]

    def row(self, name: str) -> LatencyRow:
        return next(row for row in self.rows if row.name == name)


def build_report(
    candidates: Sequence[Candidate],
    plan: TimingPlan,
    *,
    stopped: str,
    seconds: float,
    x: Tensor,
    conditions: dict[str, str],
) -> LatencyReport:
    """Summarise rounds; the first candidate is the base and the last one its second run."""
    base, *_, twin = candidates
    rows = tuple(_row(candidate, base, plan, len(x)) for candidate in candidates[:-1])
    self_test = bootstrap_median(ratios(twin, base), seed=plan.seed)
    guards = _guards(base.visits_ms, self_test)
    return LatencyReport(
        base=base.name,
        rows=rows,
        self_test=self_test,
        base_spread=spread(base.visits_ms),
        base_drift=drift(base.visits_ms),
        batch=len(x),
        input_shape=tuple(x.shape),
        rounds=len(base.visits_ms),
        seconds=seconds,
        stopped=stopped,
        margin=plan.margin,
        seed=plan.seed,
        reliable=not guards,
        warnings=(*guards, *_notes(candidates, rows, plan)),
        environment=conditions,
    )


def _row(candidate: Candidate, base: Candidate, plan: TimingPlan, batch: int) -> LatencyRow:
    is_base = candidate is base
    paired = ratios(candidate, base)
    ratio = Interval(1.0, 1.0, 1.0) if is_base else bootstrap_median(paired, seed=plan.seed)
    median_ms = quantile(candidate.samples_ms, 0.5)
    return LatencyRow(
        name=candidate.name,
        median_ms=median_ms,
        q05_ms=quantile(candidate.samples_ms, 0.05),
        q95_ms=quantile(candidate.samples_ms, 0.95),
        images_per_s=1000 * batch / median_ms,
        ratio=ratio.median,
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        verdict="base" if is_base else verdict(ratio, plan.margin),
        narrow=ratio.width < plan.margin,
        outlier_share=outlier_share(candidate.samples_ms),
        samples=len(candidate.samples_ms),
        passes=candidate.passes,
        settled=candidate.settled,
        warmup_runs=candidate.warmup_runs,
    )


def _guards(base_ms: Sequence[float], self_test: Interval) -> list[str]:
    found = []
    if not self_test.contains(1.0):
        ends = f"[{self_test.low:.3f}, {self_test.high:.3f}]"
        found.append(f"unreliable: the base against itself gives {ends}, which leaves out 1")
    if spread(base_ms) > MAX_SPREAD:
        found.append(f"unreliable: the base's spread is {100 * spread(base_ms):.1f} %, above 5 %")
    if drift(base_ms) > MAX_DRIFT:
        found.append(f"unreliable: the base drifted by {100 * drift(base_ms):.1f} %, above 3 %")
    return found


def _notes(
    candidates: Sequence[Candidate], rows: Sequence[LatencyRow], plan: TimingPlan
) -> list[str]:
    unsettled = [candidate.name for candidate in candidates if not candidate.settled]
    wide = [row.name for row in rows if not row.narrow and row.verdict == "no difference"]
    notes = []
    if unsettled:
        notes.append(f"not settled after the warm-up: {', '.join(unsettled)}")
    if wide:
        notes.append(
            f"interval wider than the margin of {100 * plan.margin:.0f} %: {', '.join(wide)}"
        )
    return notes
