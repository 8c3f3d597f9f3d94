"""Blocks of parallel paths: pieces that are appended, and paths that meet."""

from collections.abc import Iterator
from dataclasses import replace

from convgate.insertion.block import (
    Branch,
    FlowBlock,
    classes_of,
    end_of,
    held,
    inside,
    weight,
)
from convgate.insertion.flow import Flow
from convgate.insertion.residual import is_reparameterised
from convgate.insertion.tape import Op, Value


def dense(flow: Flow) -> Iterator[FlowBlock]:
    """Yield a block for every piece that is appended to what was there, as in DenseNet."""
    leaves: dict[Value, tuple[Value, ...]] = {}
    previous: tuple[Value, tuple[Value, ...]] | None = None
    run: list[FlowBlock] = []
    for op in flow.tape.ops:
        value = op.outputs[0] if op.outputs else -1
        if op.name != "cat" or not flow.is_map(value):
            continue
        pieces = tuple(leaf for v in op.inputs for leaf in leaves.get(v, (v,)))
        leaves[value] = pieces
        new = [v for v in pieces if previous is None or v not in previous[1]]
        grown = previous is not None and set(previous[1]) < set(pieces) and len(new) == 1
        if grown and previous is not None and flow.dominates(previous[0], new[0]):
            run.append(FlowBlock(Branch(previous[0], new[0], value), appends=True))
        else:
            yield from run if len(run) > 1 else ()
            run = [*_first_piece(flow, op)]
        previous = (value, pieces)
    yield from run if len(run) > 1 else ()


def _first_piece(flow: Flow, op: Op) -> Iterator[FlowBlock]:
    if len(op.inputs) == 2 and flow.dominates(*op.inputs) and weight(flow, *op.inputs):
        yield FlowBlock(Branch(*op.inputs, op.outputs[0]), appends=True)


def merges(flow: Flow, taken: list[FlowBlock]) -> Iterator[FlowBlock]:
    """Yield the blocks of parallel paths: the last join of a module that holds them.

    Where there are blocks of other kinds, a single one is a stem, a reduction or a part of a head.
    """
    tape = flow.tape
    classes = classes_of(flow, taken)
    closed = set[int]().union(*(inside(flow, block) for block in taken))
    holders = {end_of(flow, block): block for block in taken}
    found: dict[int, FlowBlock] = {}
    for index, value, operands in sorted(_joins(flow)):
        call = tape.ops[index].call
        around = [tape.calls[outer].kind for outer in tape.around(call) if outer not in (0, call)]
        if classes.intersection(around):
            continue  # a part of a block without a skip
        block = FlowBlock(Branch(flow.dominator[value], value, value), meets=True)
        ops = held(flow, block)
        if not any(flow.kind(tape.ops[i]) in ("spatial", "mix") for i in ops):
            continue
        if index in closed or any(_is_foreign(flow, call, holders[i]) for i in ops & {*holders}):
            continue
        end = _end_of_merge(flow, block.start, value, operands)
        found[call if call > 0 else -index - 1] = replace(block, main=replace(block.main, end=end))
    ends = {end_of(flow, block) for block in found.values()}
    kept = [b for b in found.values() if not (ends - {end_of(flow, b)}) & held(flow, b)]
    kinds = [tape.calls[tape.ops[end_of(flow, block)].call].kind for block in kept]
    for block, kind in zip(kept, kinds, strict=True):
        if not taken or kinds.count(kind) > 1:
            yield block


def _is_foreign(flow: Flow, call: int, block: FlowBlock) -> bool:
    """Whether a block that a join holds is not of the code that makes the join."""
    return block.appends or call == 0 or flow.tape.ops[end_of(flow, block)].call != call


def _joins(flow: Flow) -> Iterator[tuple[int, Value, tuple[Value, ...]]]:
    for index, op in enumerate(flow.tape.ops):
        if op.name == "cat" and len(op.inputs) > 1 and all(map(flow.is_map, op.inputs)):
            yield index, op.outputs[0], op.inputs
    for each in flow.sums:
        start = flow.common(each.operands)
        if start != -1 and not is_reparameterised(flow, start, each):
            yield each.index, each.value, each.operands


def _end_of_merge(flow: Flow, start: Value, value: Value, operands: tuple[Value, ...]) -> Value:
    """Return the longer of two paths' end; what comes after the merge where there are more."""
    weights = sorted((weight(flow, start, v), v) for v in operands)
    if len(operands) == 2 and weights[1][0] > weights[0][0]:
        return weights[1][1]
    return value
