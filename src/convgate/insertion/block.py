"""A block of a traced network, and what it holds."""

from dataclasses import dataclass

from torch import nn

from convgate.insertion.flow import Flow, Step, enclosing
from convgate.insertion.tape import Value

MIXING = {"spatial", "mix", "pool"}
"""Steps that look at more than one position."""


@dataclass(frozen=True)
class Branch:
    """What a block computes: from ``start`` to ``end``, before it is added to anything."""

    start: Value
    end: Value
    out: Value  # after the sum or the concatenation; ``end`` itself where there is none

    def steps(self, flow: Flow) -> list[Step]:
        return flow.chain(self.start, self.end)


@dataclass(frozen=True)
class FlowBlock:
    """A block: its main branch, and that of a token mixer with a sum of its own."""

    main: Branch
    mixer: Branch | None = None
    appends: bool = False  # whether it gives one more piece of a concatenation, as in DenseNet
    meets: bool = False  # whether it is paths that part and meet, and no skip
    call: int = -1  # the module call that is the block; -1 where no module holds it alone

    @property
    def start(self) -> Value:
        return (self.mixer or self.main).start


def end_of(flow: Flow, block: FlowBlock) -> int:
    """Return the operation that ends a block."""
    return flow.tape.producer[block.main.out]


def inside(flow: Flow, block: FlowBlock) -> set[int]:
    return set(flow.between(block.start, block.main.out))


def held(flow: Flow, block: FlowBlock) -> set[int]:
    """Return the operations that lead to a join within the code that makes it."""
    call = flow.tape.calls[max(flow.tape.ops[end_of(flow, block)].call, 0)]
    return {i for i in inside(flow, block) if i >= call.first}


def call_of(flow: Flow, block: FlowBlock) -> int:
    """Return the module call that holds a block, and no more than it."""
    tape = flow.tape
    inside = sorted(held(flow, block))
    if block.appends:
        inside = flow.between(block.start, block.main.end)
    for index in enclosing(tape, inside):
        if not issubclass(tape.calls[index].kind, nn.Sequential):
            return index if index > 0 else -1
    return -1


def classes_of(flow: Flow, blocks: list[FlowBlock]) -> set[type[nn.Module]]:
    """Return the classes of the modules that are blocks."""
    calls = {call_of(flow, block) for block in blocks} - {-1}
    return {flow.tape.calls[call].kind for call in calls}


def weight(flow: Flow, start: Value, end: Value) -> int:
    """Count the layers between two values."""
    ops = (flow.tape.ops[i] for i in flow.between(start, end))
    return sum(flow.kind(op) in ("spatial", "pointwise", "mix") for op in ops)
