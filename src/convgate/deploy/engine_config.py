"""Rivals on one engine: made ready, compared with their eager forms, then timed together."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from convgate.deploy.checks import check_engine, check_parts
from convgate.deploy.engines import open_engine
from convgate.errors import InputError
from convgate.measure import LatencyReport, compare_latency
from convgate.measure.settings import Model


@dataclass(frozen=True)
class Course:
    """Which engine runs the rivals, and how.

    Args:
        engine: One of `convgate.deploy.ENGINES`.
        dtype: Of its arithmetic; None leaves the networks' own.
        threads: CPU threads; None for torch's own number.
        compile_mode: Of torch.compile.
        channels_last: Channels innermost, which eager and compiled networks can be asked for.
        parts: Equal parts of a batch that OpenVINO runs side by side.
    """

    engine: str = "eager"
    dtype: str | None = None
    threads: int | None = None
    compile_mode: str = "default"
    channels_last: bool = False
    parts: int = 1

    def __post_init__(self) -> None:
        """Check the words."""
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
        return self.engine in ("eager", "compile")

    @property
    def facts(self) -> dict[str, Any]:
        """The setting in which the eager form is counted: float32 for other runtimes."""
        dtype = self.dtype if self.in_torch else None
        return {"dtype": dtype, "threads": self.threads, "channels_last": self.channels_last}

    @property
    def setting(self) -> dict[str, Any]:
        """The setting in which what `ready` gives is timed."""
        return self.facts | {
            "compile_mode": self.compile_mode if self.engine == "compile" else None
        }

    def ready(self, models: Mapping[str, nn.Module], x: Tensor) -> "Starters":
        """Return what is to be timed; torch's own forms are made by the timing itself.

        Raises:
            InputError: as `open_engine` does.
        """
        if self.in_torch:
            return Starters(models)
        dtype = self.dtype or "float32"
        how: dict[str, Any] = {"dtype": dtype, "threads": self.threads, "parts": self.parts}
        engines = {
            name: open_engine(self.engine, model, x, **how) for name, model in models.items()
        }
        first = next(iter(engines.values()), None)
        told = {"dtype": dtype, **(first.told if first else {})}
        if dtype == "int8":
            told["calibration"] = "random images: good for time, not for accuracy"
        return Starters(engines, told)

    def compare(
        self, models: Mapping[str, nn.Module], example_input: Tensor, **options: Any
    ) -> LatencyReport:
        """Time networks as `compare_latency` does, on this engine.

        Raises:
            InputError: as `compare_latency` and `open_engine` do.
        """
        starters = self.ready(models, example_input)
        report = compare_latency(starters.models, example_input, **{**self.setting, **options})
        return replace(report, environment=report.environment | starters.told)


@dataclass(frozen=True)
class Starters:
    """What is timed, and what a report says of the engine beside its environment."""

    models: Mapping[str, Model]
    told: dict[str, str] = field(default_factory=dict)
