"""Published timing protocols, to put numbers beside published tables."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from convgate.errors import InputError, unknown
from convgate.measure.environment import environment
from convgate.measure.report import TimingReport
from convgate.measure.settings import Model, Setting, check_input, check_varied
from convgate.measure.statistics import mean_and_deviation
from convgate.measure.timing import HostTimer, Progress, Run, Timer
from convgate.tables import Readable, short_number


@dataclass(frozen=True)
class TimingPreset(Readable):
    """A fixed number of runs, with cuDNN free to try its algorithms in the first ones."""

    warmup_runs: int  # forward passes before each repeat
    runs: int  # timed forward passes of a repeat
    repeats: int  # mean and standard deviation are over them, or over the runs of the only one
    one_by_one: bool  # wait for the device after each pass instead of after the last


PRESETS = {
    # As FasterNet's `measure_latency` times; the SELN paper gives "seconds per iteration".
    "fasternet": TimingPreset(warmup_runs=50, runs=200, repeats=5, one_by_one=False),
    # The defaults of timm's benchmark.py, whose CSVs list milliseconds a step and samples/s.
    "timm": TimingPreset(warmup_runs=10, runs=40, repeats=1, one_by_one=True),
}


@dataclass(frozen=True)
class PresetRow(Readable):
    """One model: seconds per forward pass of the whole batch, and images per second."""

    name: str
    mean_s: float
    std_s: float
    images_per_s: float

    def cells(self) -> tuple[str, ...]:
        return f"{self.mean_s:.4f}\n± {self.std_s:.4f}", short_number(self.images_per_s)


@dataclass(frozen=True, repr=False)
class PresetReport(TimingReport):
    """All models under one published protocol. These means are not paired and get no verdict."""

    protocol: str
    preset: TimingPreset
    batch: int
    input_shape: tuple[int, ...]
    rows: tuple[PresetRow, ...]
    setting: Setting
    environment: dict[str, str]

    HEADS: ClassVar = ("s/it\nmean ± std", "images/s")

    def notes(self) -> list[str]:
        runs = f"{self.preset.repeats} x {self.preset.runs} runs of batch {self.batch}"
        return [f"protocol {self.protocol}: {runs}, not paired"]


def run_preset(
    models: Mapping[str, Model],
    example_input: Tensor,
    protocol: str,
    *,
    seed: int = 0,
    timer: Timer | None = None,
    on_progress: Progress | None = None,
    **setting: Any,
) -> PresetReport:
    """Time the models as a published protocol does.

    Args:
        models: name -> module, on the input's device.
        example_input: one batch, (N, C, H, W).
        protocol: "fasternet" or "timm".
        seed: of the order of the models within a repeat.
        timer: a clock of your own.
        on_progress: called with a word and the share that is done.
        **setting: fields of `Setting`: dtype, channels_last, threads, compile_mode, tf32.

    Raises:
        InputError: for an unknown protocol, no model, or a constant input.
    """
    if protocol not in PRESETS:
        raise unknown("protocol", protocol, PRESETS)
    if not models:
        raise InputError("there is no model to time; give at least one")
    check_input(example_input)
    check_varied(example_input)
    preset, chosen = PRESETS[protocol], Setting(**setting)
    clock = timer or HostTimer(example_input.device)
    samples: dict[str, list[float]] = {name: [] for name in models}
    order = random.Random(seed)
    with chosen.applied(candidates=len(models)), torch.inference_mode(), _tuned_cudnn():
        x = chosen.input(example_input)
        ready = {name: _pass(chosen, model, x) for name, model in models.items()}
        for repeat in range(preset.repeats):
            for place, name in enumerate(order.sample(list(ready), len(ready))):
                samples[name] += _repeat(ready[name], clock, preset)
                done = repeat * len(ready) + place + 1
                if on_progress:
                    on_progress(protocol, done / (preset.repeats * len(ready)))
        conditions = environment(x.device) | {"dtype": str(x.dtype).removeprefix("torch.")}
    return PresetReport(
        protocol=protocol,
        preset=preset,
        batch=len(x),
        input_shape=tuple(x.shape),
        rows=tuple(_row(name, taken, len(x)) for name, taken in samples.items()),
        setting=chosen,
        environment=conditions,
    )


def _pass(setting: Setting, model: Model, x: Tensor) -> Run:
    ready = setting.compiled(setting.eager(model))
    return lambda: ready(x)


@contextmanager
def _tuned_cudnn() -> Iterator[None]:
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _repeat(run: Run, timer: Timer, preset: TimingPreset) -> list[float]:
    """Return seconds per pass: one mean, or every pass of a protocol that waits after each."""
    timer.time_ms(run, preset.warmup_runs)
    if preset.one_by_one:
        return [timer.time_ms(run, 1) / 1000 for _ in range(preset.runs)]
    return [timer.time_ms(run, preset.runs) / 1000 / preset.runs]


def _row(name: str, seconds: list[float], batch: int) -> PresetRow:
    mean_s, std_s = mean_and_deviation(seconds)
    return PresetRow(name, mean_s, std_s, batch / mean_s)
