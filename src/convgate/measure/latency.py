"""Latency of candidates against a base: interleaved, paired, with intervals and verdicts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from convgate.errors import InputError, unknown
from convgate.measure.environment import environment
from convgate.measure.parity import check_parity
from convgate.measure.report import LatencyReport, build_report
from convgate.measure.settings import Model, Setting, check_input, check_varied
from convgate.measure.timing import (
    Candidate,
    Progress,
    Run,
    Timer,
    TimingPlan,
    run_rounds,
    timer_for,
    warm_up,
)

SELF_TEST = "self-test"


class UnreliableMeasurement(InputError):
    """A guard failed and ``strict`` was asked for."""


@dataclass(frozen=True)
class Options:
    """What `compare_latency` and `convgate.measure.measure` take beside models and input."""

    # "latency" (batch 1, every pass timed by itself, the host's work included) or "throughput"
    # (passes queued one after the other); None chooses by the batch
    quantity: str | None = None
    # candidate -> the candidate (or a callable) whose output it must reproduce
    parity_with: Mapping[str, str | Model] | None = None
    strict: bool = False  # raise `UnreliableMeasurement` where a guard fails
    timer: Timer | None = None  # a clock of your own
    # rounds, seconds, margin, seed and warm-up; its fields are options, too
    plan: TimingPlan = field(default_factory=TimingPlan)
    # dtype, channels_last, threads, compile_mode, tf32; its fields are options, too
    setting: Setting = field(default_factory=Setting)

    @classmethod
    def of(cls, **options: Any) -> "Options":
        """Sort options by name into plan, setting and the rest."""
        plan, setting = ({f.name for f in fields(kind)} for kind in (TimingPlan, Setting))
        plan -= {"pipelined"}  # follows from the quantity
        own = {f.name for f in fields(cls)} - {"plan", "setting"}
        for name in options:
            if name not in plan | setting | own:
                raise unknown("option", name, plan | setting | own)
        result = cls(
            **{k: v for k, v in options.items() if k in own},
            plan=TimingPlan(**{k: v for k, v in options.items() if k in plan}),
            setting=Setting(**{k: v for k, v in options.items() if k in setting}),
        )
        _check(result)
        return result


def compare_latency(
    models: Mapping[str, Model],
    example_input: Tensor,
    *,
    base: str | None = None,
    on_progress: Progress | None = None,
    **options: Any,
) -> LatencyReport:
    """Time the models together and compare each with the base.

    Copies of the models run in eval mode under `torch.inference_mode`, in one process; each round
    visits all of them in random order, so that the drift of a shared machine hits them alike and
    cancels in the ratio, which is taken round by round. The base rides along a second time as a
    self-test: the interval of its ratio to itself must contain 1.

    Args:
        models: name -> module (or a callable, timed as it is), on the input's device.
        example_input: one batch of varied numbers, (N, C, H, W); used as it is in every pass.
        base: the name to compare with; the first one by default.
        on_progress: called with a word and the share that is done.
        **options: fields of `Options`, `TimingPlan` and `Setting`: rounds, seconds, margin, seed,
            strict, quantity, parity_with, dtype, channels_last, threads, compile_mode, tf32, ...

    Raises:
        InputError: for an unknown name or option, a constant input, or a candidate that is not the
            function it claims to be.
        UnreliableMeasurement: if ``strict`` and a guard failed.
    """
    chosen = Options.of(**options)
    check_input(example_input)
    check_varied(example_input)
    names = _base_first(models, base)
    quantity = _quantity(chosen.quantity, len(example_input))
    plan = replace(chosen.plan, pipelined=quantity == "throughput")
    timer = chosen.timer or timer_for(example_input.device, quantity)
    report = on_progress or (lambda text, share: None)
    with chosen.setting.applied(candidates=len(names)), torch.inference_mode():
        x = chosen.setting.input(example_input)
        candidates = _prepare({name: models[name] for name in names}, x, chosen)
        warm_up(candidates, timer, plan, report)
        start = timer.now_s()
        stopped = run_rounds(candidates, timer, plan, report)
        seconds = timer.now_s() - start
        conditions = environment(x.device) | _engine(chosen.setting)
        conditions |= {"quantity": quantity, "dtype": str(x.dtype).removeprefix("torch.")}
    result = build_report(
        candidates, plan, stopped=stopped, seconds=seconds, x=x, conditions=conditions
    )
    result = replace(result, setting=chosen.setting)
    if chosen.strict and not result.reliable:
        raise UnreliableMeasurement(
            f"the measurement is unreliable: {'; '.join(result.warnings)}; quiet the machine, give "
            "more seconds, or do without strict"
        )
    return result


def _check(options: Options) -> None:
    plan = options.plan
    if options.quantity not in (None, "latency", "throughput"):
        raise unknown("quantity", str(options.quantity), ("latency", "throughput"))
    if plan.rounds is not None and plan.rounds < 3:
        raise InputError(f"rounds={plan.rounds} gives no interval; give at least 3")
    if not 0 < plan.margin < 1:
        raise InputError(f"margin={plan.margin} is no share between 0 and 1; 0.02 is 2 %")
    if plan.seconds <= 0:
        raise InputError(f"seconds={plan.seconds} leaves no time to measure; give more than 0")


def _engine(setting: Setting) -> dict[str, str]:
    mode = setting.compile_mode
    return {} if mode is None else {"engine": f"torch.compile {torch.__version__}, mode {mode}"}


def _base_first(models: Mapping[str, Model], base: str | None) -> list[str]:
    if not models:
        raise InputError("there is no model to time; give at least one")
    if SELF_TEST in models:
        raise InputError(f"the name {SELF_TEST!r} is taken by the base's second run; rename it")
    base = next(iter(models)) if base is None else base
    if base not in models:
        raise unknown("base model", base, models)
    return [base, *(name for name in models if name != base)]


def _quantity(asked: str | None, batch: int) -> str:
    if asked == "latency" and batch != 1:
        raise InputError(f"latency is of one image, not of a batch of {batch}; ask for throughput")
    return asked or ("latency" if batch == 1 else "throughput")


def _prepare(models: dict[str, Model], x: Tensor, options: Options) -> list[Candidate]:
    eager = {name: options.setting.eager(model) for name, model in models.items()}
    for name, other in (options.parity_with or {}).items():
        check_parity(name, _named(eager, name), _named(eager, other), x)
    ready = {name: options.setting.compiled(model) for name, model in eager.items()}
    for name, model in ready.items():
        if model is not eager[name]:
            check_parity(f"{name}, compiled", model, eager[name], x)
    candidates = [Candidate(name, _pass(model, x)) for name, model in ready.items()]
    return [*candidates, Candidate(SELF_TEST, candidates[0].run)]


def _named(models: dict[str, Model], name: str | Model) -> Model:
    if not isinstance(name, str):
        return name
    if name not in models:
        raise unknown("model", name, models)
    return models[name]


def _pass(model: Callable[[Tensor], Any], x: Tensor) -> Run:
    return lambda: model(x)
