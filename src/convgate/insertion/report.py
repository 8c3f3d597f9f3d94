"""What was put where, and what it costs."""

import json
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from convgate.errors import InputError
from convgate.insertion.gate_cost import count_macs, time_gates
from convgate.insertion.sites import Site
from convgate.insertion.tree import CHILDREN, MARK, child, join
from convgate.tables import Readable, Table

HEADER = ("site", "path", "stage", "channels", "gate", "params", "MACs", "latency")
ALIGN = "llrrlrrr"


@dataclass(frozen=True)
class Row(Readable):
    """One gate.

    Attributes:
        site: The site's name, or the pattern that found it.
        path: The module that carries the gate, or that it took the place of.
        where: "output" of that module, or its "input".
        stage: From 1; 0 outside the stages.
        channels: C at the site.
        gate: Its registered name; "none" for what was removed.
        params: Parameters that the network gained; negative where it lost some.
        macs: Multiply-adds of the gate for one image; None while its input's size is unknown.
        share: The gate's own latency over the network's, gates included; None until measured.
        share_low: Lower end of the share's 95 % interval.
        share_high: Upper end of it.
    """

    site: str
    path: str
    where: str
    stage: int
    channels: int
    gate: str
    params: int
    macs: int | None = None
    share: float | None = None
    share_low: float | None = None
    share_high: float | None = None

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table, as text."""
        path = self.path if self.where == "output" else f"{self.path} (input)"
        names = (self.site, path, str(self.stage), str(self.channels), self.gate)
        return *names, f"{self.params:+,}", _number(self.macs), _percent(self.share)


@dataclass(frozen=True, repr=False)
class InsertReport(Readable):
    """All gates of one `insert`, `replace` or `remove`; prints as a table.

    Attributes:
        action: "insert", "replace" or "remove".
        gate: The registered name; "none" for `remove`.
        start: "identity" or "paper"; empty for `remove`.
        rows: One for each gate, in the network's order.
    """

    action: str
    gate: str
    start: str
    rows: tuple[Row, ...]

    @property
    def params(self) -> int:
        """Parameters gained in all."""
        return sum(row.params for row in self.rows)

    @property
    def macs(self) -> int | None:
        """Multiply-adds of all gates for one image; None where one is unknown."""
        known = [row.macs for row in self.rows if row.macs is not None]
        return sum(known) if len(known) == len(self.rows) else None

    @property
    def share(self) -> float | None:
        """Share of the network's latency of all gates; None where one is not measured."""
        known = [row.share for row in self.rows if row.share is not None]
        return sum(known) if len(known) == len(self.rows) else None

    def measure(self, model: nn.Module, example_input: Tensor, **options: Any) -> "InsertReport":
        """Return the report with MACs, and each gate's predicted share of the network's latency.

        Every gate is timed alone on the tensor that it gets in the network, interleaved with the
        whole network. What a gate costs around it, by splitting a fused region or emptying the
        caches, is not in its share: compare the networks for that.

        Args:
            model: The network with the gates.
            example_input: One batch of varied numbers, (N, C, H, W).
            options: Of `convgate.measure.compare_latency`: seconds, rounds, threads, ...

        Raises:
            InputError: if the network lacks one of the gates.
        """
        paths = [_gate_path(model, row) for row in self.rows]
        rows = [
            replace(
                row,
                macs=macs,
                share=time.ratio,
                share_low=time.ratio_low,
                share_high=time.ratio_high,
            )
            for row, (macs, time) in zip(
                self.rows, time_gates(model, paths, example_input, **options), strict=True
            )
        ]
        return replace(self, rows=tuple(rows))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the totals as plain JSON types."""
        total = {"params": self.params, "macs": self.macs, "share": self.share}
        return super().to_dict() | {"total": total}

    def to_json(self) -> str:
        """Return the fields and the totals as JSON text."""
        return json.dumps(self.to_dict(), indent=2)

    def table(self) -> Table:
        """Return one row for each gate, and their total."""
        total = ("total", f"{len(self.rows)} sites", "", "", "", f"{self.params:+,}")
        last = (*total, _number(self.macs), _percent(self.share))
        return Table(HEADER, [*(row.cells() for row in self.rows), last], ALIGN)


def report_row(
    site: Site, gate: str, module: nn.Module | None, old: nn.Module | None = None
) -> Row:
    """Return the row of a gate that comes, goes, or takes the place of another module."""
    return Row(
        site=site.name,
        path=site.path,
        where=site.where,
        stage=site.stage,
        channels=site.channels,
        gate=gate,
        params=_params(module) - _params(old),
        macs=count_macs(module, site.shape) if module is not None and site.shape else None,
    )


def _gate_path(model: nn.Module, row: Row) -> str:
    for path in (join(row.path, CHILDREN[row.where]), row.path):
        gate = child(model, path)
        if gate is not None and MARK in vars(gate):
            return path
    raise InputError(f"the network has no gate at {row.path}; give the network that was reported")


def _params(module: nn.Module | None) -> int:
    return sum(p.numel() for p in module.parameters()) if module is not None else 0


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
