"""Blocks with a skip: the sum of a value, or of a light projection of it, and of a branch."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from convgate.insertion.block import MIXING, Branch, FlowBlock, end_of, inside, weight
from convgate.insertion.flow import Flow, Step, Sum
from convgate.insertion.tape import Value

LIGHT = {"spatial", "pointwise", "norm", "act", "view", "pool", "scale"}
"""Single steps that a skip may have."""


def residuals(flow: Flow, sums: Iterable[Sum]) -> Iterator[FlowBlock]:
    """Yield a block for every sum of a skip and of something heavier."""
    for each in sums:
        start = flow.common(each.operands)
        if start == -1 or is_reparameterised(flow, start, each):
            continue
        weights = {v: weight(flow, start, v) for v in each.operands}
        skip = min(each.operands, key=lambda v: (weights[v], flow.tape.producer.get(v, -1)))
        branches = [v for v in each.operands if v != skip]
        heavy = [
            v
            for v in branches
            if weights[v] > weights[skip] or (skip == start and _looks_around(flow, start, v))
        ]
        if heavy and _is_light(flow, start, skip):
            end = max(heavy, key=lambda v: (weights[v], flow.tape.producer[v]))
            yield FlowBlock(Branch(start, _before_blend(flow, start, end), each.value))


def is_reparameterised(flow: Flow, start: Value, each: Sum) -> bool:
    """Whether a sum is one convolution that training has taken apart: all its paths are linear."""
    return all(flow.is_linear(start, v) for v in each.operands)


def _before_blend(flow: Flow, start: Value, end: Value) -> Value:
    """Return f(x) where a branch ends in a (f(x) - x), which x is added to."""
    value = end
    while (
        value != start and flow.step(value).is_single and flow.step(value).kind in ("view", "scale")
    ):
        value = flow.dominator[value]
    op = flow.tape.op(value)
    if op is None or op.name != "sub" or start not in op.inputs or len(op.inputs) != 2:
        return end
    return next(v for v in op.inputs if v != start)


def _is_light(flow: Flow, start: Value, skip: Value) -> bool:
    """Whether a path is a skip: the value itself, or where the shape changes a plain projection."""
    steps = flow.chain(start, skip)
    if not all(step.is_single and step.kind in LIGHT for step in steps):
        return False
    layers = weight(flow, start, skip)
    if layers and flow.tape.shape[start] == flow.tape.shape[skip]:
        return False
    return layers <= 1 or (layers == 2 and flow.is_linear(start, skip))


def _looks_around(flow: Flow, start: Value, end: Value) -> bool:
    return any(flow.kind(flow.tape.ops[i]) in MIXING for i in flow.between(start, end))


def innermost(flow: Flow, blocks: Iterable[FlowBlock]) -> list[FlowBlock]:
    """Drop sums around whole blocks; a sum within a block's own code is that of its mixer."""
    tape = flow.tape
    kept: list[FlowBlock] = []
    ends = {end_of(flow, block): block for block in blocks}
    mixers: set[int] = set()
    for index, block in ends.items():
        nested = sorted(i for i in inside(flow, block) & ends.keys() if i != index)
        own = [i for i in nested if tape.ops[i].call == tape.ops[index].call]
        if not nested:
            kept.append(block)
        elif len(nested) == 1 and own:
            mixers.add(nested[0])
            mixer = ends[nested[0]].main
            start = min(block.main.start, mixer.start)
            kept.append(replace(block, mixer=replace(mixer, start=start)))
    return [block for block in kept if end_of(flow, block) not in mixers]


def joined(flow: Flow, blocks: list[FlowBlock]) -> list[FlowBlock]:
    """Join the block of a token mixer with that of the MLP after it."""
    found: list[FlowBlock] = []
    for block in blocks:
        mixes = block.mixer is not None or _mixes(flow, block.main)
        before = found[-1] if found and found[-1].mixer is None else None
        if before is not None and not mixes and _follows(flow, before, block):
            found[-1] = replace(block, mixer=before.main)
        else:
            found.append(block)
    return found


def _mixes(flow: Flow, branch: Branch) -> bool:
    """Whether a branch looks at more than one position; its own attention does not count."""
    return any(step.kind in MIXING or _has_mix(flow, step) for step in branch.steps(flow))


def _has_mix(flow: Flow, step: Step) -> bool:
    return step.kind != "attention" and any(flow.kind(op) in MIXING for op in step.ops)


def _follows(flow: Flow, first: FlowBlock, second: FlowBlock) -> bool:
    if not flow.dominates(first.main.out, second.main.start):
        return False
    between = flow.chain(first.main.out, second.main.start)
    return all(step.kind in ("view", "norm", "act", "scale") for step in between)
