"""What was put where, and what it costs: parameters, multiply-adds, share of the latency."""

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from convgate.errors import InputError
from convgate.insertion.module_tree import CHILDREN, MARK, child, join
from convgate.insertion.sites import Site
from convgate.measure import LatencyRow, compare_latency, count
from convgate.measure.settings import evaluated
from convgate.tables import Readable, Table

HEADER = ("site", "path", "stage", "channels", "gate", "params", "MACs", "latency")
ALIGN = "llrrlrrr"


@dataclass(frozen=True)
class GateRow(Readable):
    site: str  # the site's name, or the pattern that found it
    path: str  # the module that carries the gate, or that it took the place of
    where: str  # "output" of that module, its "input", or a "part" of a tuple that it returns
    stage: int  # from 1; 0 outside the stages
    channels: int  # C at the site
    gate: str  # its registered name; "none" for what was removed
    params: int  # parameters that the network gained; negative where it lost some
    share: float | None = None  # its latency over the gated network's; None until measured
    share_low: float | None = None  # lower end of the share's 95 % interval
    share_high: float | None = None  # upper end of it
    # the gate on the meta device, without numbers; None for what was removed
    twin: nn.Module | None = field(default=None, repr=False, compare=False)
    # of the gate's input, (N, C, H, W); None while it is unknown
    shape: tuple[int, ...] | None = field(default=None, repr=False)

    @cached_property
    def macs(self) -> int | None:
        """Multiply-adds of the gate for one image, counted when first asked for; None: unknown."""
        if self.twin is None or self.shape is None:
            return None
        dtype = next((p.dtype for p in self.twin.parameters()), torch.float32)
        return count(self.twin, torch.empty(1, *self.shape[1:], device="meta", dtype=dtype)).macs

    def to_dict(self) -> dict[str, Any]:
        names = [f.name for f in fields(self) if f.name not in ("twin", "shape")]
        names.insert(names.index("share"), "macs")
        return {name: getattr(self, name) for name in names}

    def cells(self) -> tuple[str, ...]:
        path = self.path if self.where == "output" else f"{self.path} ({self.where})"
        names = (self.site, path, str(self.stage), str(self.channels), self.gate)
        return *names, f"{self.params:+,}", _number(self.macs), _percent(self.share)

    def table(self) -> Table:
        return Table(HEADER, [self.cells()], ALIGN)


@dataclass(frozen=True, repr=False)
class InsertReport(Readable):
    """All gates of one `insert`, `replace` or `remove`; prints as a table."""

    action: str  # "insert", "replace" or "remove"
    gate: str  # the registered name; "none" for `remove`
    start: str  # "identity" or "paper"; empty for `remove`
    rows: tuple[GateRow, ...]  # one for each gate, in the network's order
    blocks: int = 0  # of the network, in the stages asked for; 0 where no site of blocks was named

    @property
    def params(self) -> int:
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
        """Return the report for this input, with each gate's predicted share of the latency.

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
        timed = time_gates(model, paths, example_input, **options)
        rows = [
            replace(
                row,
                shape=shape,
                share=time.ratio,
                share_low=time.ratio_low,
                share_high=time.ratio_high,
            )
            for row, (shape, time) in zip(self.rows, timed, strict=True)
        ]
        return replace(self, rows=tuple(rows))

    def to_dict(self) -> dict[str, Any]:
        total = {"params": self.params, "macs": self.macs, "share": self.share}
        return super().to_dict() | {"total": total}

    def table(self) -> Table:
        where = f"{len(self.rows)} sites"
        if self.blocks:
            where += f", {self.blocks} blocks"
        total = ("total", where, "", "", "", f"{self.params:+,}")
        last = (*total, _number(self.macs), _percent(self.share))
        return Table(HEADER, [*(row.cells() for row in self.rows), last], ALIGN)


def report_row(
    site: Site, gate: str, module: nn.Module | None, old: nn.Module | None = None
) -> GateRow:
    """Return the row of a gate that comes, goes, or takes the place of another module."""
    return GateRow(
        site=site.name,
        path=site.path,
        where=site.where,
        stage=site.stage,
        channels=site.channels,
        gate=gate,
        params=_params(module) - _params(old),
        twin=None if module is None else copy.deepcopy(module).to("meta"),
        shape=site.shape,
    )


def _gate_path(model: nn.Module, row: GateRow) -> str:
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


def time_gates(
    model: nn.Module, paths: Sequence[str], example_input: Tensor, **options: Any
) -> list[tuple[tuple[int, ...], LatencyRow]]:
    """Return the input's shape and the latency against the whole network's, gate by gate.

    Gates of one kind on tensors of one form are timed once.
    """
    gates = [model.get_submodule(path) for path in paths]
    inputs = _inputs(model, gates, example_input)
    cases = [
        f"{gate} on {tuple(x.shape)} {x.stride()}" for gate, x in zip(gates, inputs, strict=True)
    ]
    runs = {case: _run(gate, x) for case, gate, x in zip(cases, gates, inputs, strict=True)}
    timed = compare_latency({"network": model, **runs}, example_input, base="network", **options)
    return [(tuple(x.shape), timed.row(case)) for case, x in zip(cases, inputs, strict=True)]


def _inputs(model: nn.Module, gates: Sequence[nn.Module], example_input: Tensor) -> list[Tensor]:
    received: dict[nn.Module, Tensor] = {}

    def keep(gate: nn.Module, args: tuple[Tensor, ...]) -> None:
        received[gate] = args[0].detach().clone()

    with ExitStack() as stack, evaluated(model):
        for gate in gates:
            stack.enter_context(gate.register_forward_pre_hook(keep))
        model(example_input)
    return [received[gate] for gate in gates]


def _run(gate: nn.Module, x: Tensor) -> Callable[[Tensor], Any]:
    twin = copy.deepcopy(gate).eval()
    return lambda _image: twin(x)
