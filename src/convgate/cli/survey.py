"""Counts and latency of rivals side by side, and their table of eighty columns."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from convgate.deploy.engines import EngineConfig
from convgate.errors import unknown
from convgate.measure import (
    PRESETS,
    Counts,
    LatencyReport,
    LatencyRow,
    PresetReport,
    PresetRow,
    Setting,
    count_all,
    run_preset,
)

PLAIN = "convgate"
WIDTH = 80


@dataclass(frozen=True)
class Survey:
    """What `convgate measure` found: facts by model, and one report on time."""

    facts: dict[str, Counts]
    time: LatencyReport | PresetReport

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        facts = {name: fact.to_dict() for name, fact in self.facts.items()}
        return {"models": facts, "latency": self.time.to_dict()}


def take_survey(
    rivals: Mapping[str, nn.Module],
    images: Tensor,
    *,
    course: EngineConfig,
    rules: dict[str, Any],
    protocol: str,
    distance: bool,
    on_progress: Any = None,
) -> Survey:
    """Count every rival in its eager form, then time them on the engine by ``protocol``."""
    if protocol not in (PLAIN, *PRESETS):
        raise unknown("protocol", protocol, (PLAIN, *PRESETS))
    chosen = Setting(**course.eager_setting)
    seen = images if distance else None
    facts = {n: count_all(m, images, images=seen, setting=chosen) for n, m in rivals.items()}
    if protocol == PLAIN:
        return Survey(facts, course.compare(rivals, images, on_progress=on_progress, **rules))
    ready = course.prepare(rivals, images)
    time = run_preset(ready.models, images, protocol, on_progress=on_progress, **course.setting)
    return Survey(facts, replace(time, environment=time.environment | ready.notes))


def print_survey(survey: Survey) -> None:
    """Print the table, then what happened, the warnings and the circumstances."""
    console = Console(markup=False, highlight=False, soft_wrap=True)
    console.print(_table(survey))
    for line in _lines(survey):
        console.print(line)


def _table(survey: Survey) -> Table:
    heads = ["params M\nMACs G", "bytes MB\npeak MiB"]
    if any(fact.distances for fact in survey.facts.values()):
        heads.append("distance")
    if isinstance(survey.time, LatencyReport):
        heads += ["median ms\n[5 %, 95 %]", "ratio\n[95 %]", "verdict"]
    else:
        heads += ["s/it\nmean ± std", "images/s"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0, width=WIDTH)
    table.add_column("model", overflow="fold", ratio=1)
    for head in heads:
        table.add_column(head, justify="right", max_width=14 if head != "verdict" else 10)
    for row in survey.time.rows:
        table.add_row(row.name, *_counted(survey.facts[row.name]), *_timed(row))
    return table


def _counted(facts: Counts) -> tuple[str, ...]:
    cost = facts.cost
    sizes = f"{_short(cost.params / 1e6)}\n{_short(cost.macs / 1e9)}"
    traffic = f"{_short(cost.bytes_moved / 1e6)}\n{_short(facts.memory.peak_mib)}"
    return sizes, traffic, *(f"{d.distance:.4f}" for d in facts.distances.values())


def _timed(row: LatencyRow | PresetRow) -> tuple[str, ...]:
    if isinstance(row, PresetRow):
        return f"{row.mean_s:.4f}\n± {row.std_s:.4f}", _short(row.images_per_s)
    latency = f"{_short(row.median_ms)}\n[{_short(row.q05_ms)}, {_short(row.q95_ms)}]"
    if row.verdict == "base":
        return latency, "1", "base"
    interval = f"[{row.ratio_low:.3f}, {row.ratio_high:.3f}]"
    return latency, f"{row.ratio:.3f}\n{interval}", row.verdict


def _short(number: float) -> str:
    """Return at least three digits, and no exponent."""
    decimals = 2 - math.floor(math.log10(abs(number))) if number else 0
    return f"{number:.{min(max(decimals, 0), 6)}f}"


def _lines(survey: Survey) -> Iterator[str]:
    time = survey.time
    if isinstance(time, LatencyReport):
        why = {"narrow": "the intervals were narrow", "time": "the seconds were over"}
        yield (
            f"{time.environment['quantity']} of batch {time.batch}: {time.rounds} rounds in "
            f"{time.seconds:.1f} s, until {why.get(time.stopped, 'the rounds were done')}; "
            f"margin {time.margin:.0%}; base against itself "
            f"[{time.self_test.low:.3f}, {time.self_test.high:.3f}]"
        )
        yield from (f"warning: {warning}" for warning in time.warnings)
    for name, facts in survey.facts.items():
        if facts.cost.uncounted:
            yield f"warning: {name}: not counted: {', '.join(facts.cost.uncounted)}"
    yield ""
    for key, value in time.environment.items():
        yield f"{key}: {value}"
