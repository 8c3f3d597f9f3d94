"""Networks made ready on a runtime, compared with the eager ones, then run or timed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from convgate.deploy.onnx import Forward
from convgate.deploy.runtimes import RUNTIMES, Conversion, check_engine, check_parts
from convgate.deploy.verify import check_size
from convgate.errors import InputError
from convgate.measure import LatencyReport, compare_latency
from convgate.measure.parity import check_parity
from convgate.measure.settings import DTYPES, Model, Setting


@dataclass(frozen=True)
class Engine:
    """A network made ready: a callable from images to logits, both float32."""

    name: str  # one of `convgate.deploy.RUNTIMES`
    dtype: str  # of its arithmetic
    run: Forward  # one forward pass
    notes: dict[str, str] = field(default_factory=dict)  # what a report should say of it

    def __call__(self, x: Tensor) -> Tensor:
        return self.run(x)


def open_engine(
    name: str,
    model: nn.Module,
    example_input: Tensor,
    *,
    dtype: str = "float32",
    threads: int | None = None,
    compile_mode: str = "default",
    calibration: Tensor | None = None,
    parts: int = 1,
) -> Engine:
    """Make a network ready to run; its output is compared with the eager one first.

    ONNX Runtime and OpenVINO get a graph of exactly the shape of ``example_input`` and run on the
    CPU. The last output of OpenVINO and of compiled networks is overwritten by the next pass.

    Args:
        name: One of `convgate.deploy.RUNTIMES`.
        model: The network; it is left as it was.
        example_input: Images of the size to run, (N, C, H, W), float32.
        dtype: Of the arithmetic: "float32", "bfloat16", "float16" or "int8", as `RUNTIMES` says.
        threads: CPU threads; None for torch's own number.
        compile_mode: Of torch.compile.
        calibration: Images that int8 takes its ranges from; ``example_input`` by default.
        parts: Equal parts of the batch that OpenVINO runs side by side.
    """
    check_engine(name, dtype)
    check_parts(name, parts, len(example_input))
    runtime, size = RUNTIMES[name], len(example_input) // parts
    if not runtime.in_torch and example_input.device.type != "cpu":
        raise InputError(f"engine {name!r} runs on the CPU here; do without --device cuda")
    twin = Setting().eager(model)
    assert isinstance(twin, nn.Module)
    check_size(twin, example_input)
    source = Conversion(
        name=type(model).__name__,
        model=twin,
        images=example_input[:size],
        dtype=dtype,
        calibration=torch.split(example_input if calibration is None else calibration, size),
        compile_mode=compile_mode,
    )
    count = threads or torch.get_num_threads()
    notes = {"engine": _described(name, compile_mode, parts)}
    engine = Engine(name, dtype, runtime.run(runtime.graph(source), dtype, count, parts), notes)
    kind = DTYPES.get(dtype, torch.int8)
    check_parity(f"{name} in {dtype}", engine, twin, example_input, dtype=kind)
    return engine


def _described(name: str, compile_mode: str, parts: int) -> str:
    if RUNTIMES[name].in_torch:
        mode = f", torch.compile {compile_mode}" if name == "compile" else ""
        return f"torch {torch.__version__}{mode}"
    return f"{name} {version(name)}" + (f", {parts} parts" if parts > 1 else "")


@dataclass(frozen=True)
class EngineConfig:
    """Which engine runs the networks of a comparison, and how."""

    engine: str = "eager"  # one of `convgate.deploy.RUNTIMES`
    dtype: str | None = None  # of its arithmetic; None leaves the networks' own
    threads: int | None = None  # CPU threads; None for torch's own number
    compile_mode: str = "default"  # of torch.compile
    channels_last: bool = False  # channels innermost; for eager and compiled networks
    parts: int = 1  # equal parts of a batch that OpenVINO runs side by side

    def __post_init__(self) -> None:
        check_engine(self.engine, self.dtype or "float32")
        if self.compile_mode != "default" and self.engine != "compile":
            raise InputError("a compile mode is for --engine compile; do without it")
        if self.channels_last and not self.in_torch:
            raise InputError(f"engine {self.engine!r} lays out channels itself; do without it")
        if self.in_torch:
            check_parts(self.engine, self.parts, self.parts)

    @property
    def in_torch(self) -> bool:
        """Whether torch runs the networks, and not a runtime of its own."""
        return RUNTIMES[self.engine].in_torch

    @property
    def eager_setting(self) -> dict[str, Any]:
        """The setting in which the eager networks are counted: float32 for other runtimes."""
        dtype = self.dtype if self.in_torch else None
        return {"dtype": dtype, "threads": self.threads, "channels_last": self.channels_last}

    @property
    def setting(self) -> dict[str, Any]:
        """The setting in which what `prepare` gives is timed."""
        mode = self.compile_mode if self.engine == "compile" else None
        return self.eager_setting | {"compile_mode": mode}

    def prepare(self, models: Mapping[str, nn.Module], x: Tensor) -> "Prepared":
        """Return what is to be timed; torch's own forms are made by the timing itself."""
        if self.in_torch:
            return Prepared(models)
        dtype = self.dtype or "float32"
        how: dict[str, Any] = {"dtype": dtype, "threads": self.threads, "parts": self.parts}
        engines = {
            name: open_engine(self.engine, model, x, **how) for name, model in models.items()
        }
        first = next(iter(engines.values()), None)
        notes = {"dtype": dtype, **(first.notes if first else {})}
        if dtype == "int8":
            notes["calibration"] = "random images: good for time, not for accuracy"
        return Prepared(engines, notes)

    def compare(
        self, models: Mapping[str, nn.Module], example_input: Tensor, **options: Any
    ) -> LatencyReport:
        """Time networks as `compare_latency` does, on this engine."""
        ready = self.prepare(models, example_input)
        report = compare_latency(ready.models, example_input, **{**self.setting, **options})
        return replace(report, environment=report.environment | ready.notes)


@dataclass(frozen=True)
class Prepared:
    """Networks ready to be timed, and what a report says of their engine."""

    models: Mapping[str, Model]
    notes: dict[str, str] = field(default_factory=dict)
