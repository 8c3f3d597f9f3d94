"""What was measured after training: cost and latency of each variant, distance of each run."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from convgate.errors import CorruptFile
from convgate.storage import write_text
from convgate.studies.grid import Cell, Variant, read_variant


@dataclass(frozen=True)
class Facts:
    """Cost and latency of one variant.

    The ratio compares it with its own backbone without a gate, paired round by round; ``ratio_low``
    and ``ratio_high`` are its 95 % interval. ``paired_ms`` is the ratio times the base's median.
    """

    params: int
    macs: int
    elementwise_ops: int
    bytes_moved: int
    median_ms: float
    q05_ms: float
    q95_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    paired_ms: float
    verdict: str = ""
    uncounted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurements:
    """All that the report needs besides the trials.

    Args:
        facts: By variant.
        distances: Mean feature distance by run.
        conditions: How it was measured: input, device, threads, rounds, warnings.
        environment: Versions, device, commit.
    """

    facts: Mapping[Variant, Facts] = field(default_factory=dict)
    distances: Mapping[Cell, float] = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def covers(self, cells: set[Cell]) -> bool:
        """True if every one of these runs and its variant was measured."""
        return cells <= self.distances.keys() and {c.variant for c in cells} <= self.facts.keys()

    def write(self, path: Path) -> None:
        """Replace the JSON file ``path``."""
        table = {
            "variants": [asdict(v) | asdict(f) for v, f in self.facts.items()],
            "runs": [c.to_dict() | {"distance": d} for c, d in self.distances.items()],
            "conditions": dict(self.conditions),
            "environment": dict(self.environment),
        }
        write_text(path, json.dumps(table, indent=1) + "\n")


def read_measurements(path: Path) -> Measurements | None:
    """Read what `Measurements.write` wrote; None where there is nothing yet.

    Raises:
        CorruptFile: if the file is something else.
    """
    if not path.is_file():
        return None
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return Measurements(
            {read_variant(row): _facts(row) for row in table["variants"]},
            {Cell.from_dict(row): row["distance"] for row in table["runs"]},
            table["conditions"],
            table["environment"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFile(
            f"{path}: not a study's measurements ({type(error).__name__}: {error});"
            " delete it and they are taken again"
        ) from None


def _facts(row: dict[str, Any]) -> Facts:
    values = {k: v for k, v in row.items() if k not in {f.name for f in fields(Variant)}}
    return Facts(**values | {"uncounted": tuple(values["uncounted"])})
