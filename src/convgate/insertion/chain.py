"""Blocks of a network without joins: a spatial layer and what follows it."""

from collections.abc import Iterator

from torch import nn

from convgate.insertion.block import Branch, FlowBlock
from convgate.insertion.flow import Flow, Step

CHAINED = {"pointwise", "norm", "act", "view", "scale", "attention"}
"""Steps that may follow a block's spatial layer."""


def chain(flow: Flow) -> Iterator[FlowBlock]:
    """Yield the blocks of a network without joins."""
    maps = [v for v in flow.tape.shape if flow.is_map(v) and flow.depth[v] and flow.dominates(0, v)]
    steps = [s for s in flow.chain(0, maps[-1]) if flow.is_map(s.before)] if len(maps) > 1 else []
    spatial = [
        i
        for i, step in enumerate(steps)
        if step.kind == "spatial" and step.kernel > 1 and flow.grid(step.after) != (1, 1)
    ]
    if spatial and flow.grid(steps[spatial[0]].after) != flow.grid(steps[spatial[0]].before):
        spatial = spatial[1:]  # the stem
    for number, index in enumerate(spatial):
        following = spatial[number + 1] if number + 1 < len(spatial) else len(steps)
        last = last_inside = index
        for i in range(index + 1, following):
            ahead = following < len(steps) and _shares_module(flow, steps, index, i, following)
            left = last_inside > index and not _shares_module(flow, steps, -1, i, index)
            if steps[i].kind not in CHAINED or ahead or left:
                break
            if steps[i].kind == "pointwise" and _shares_module(flow, steps, -1, i, index):
                last_inside = i
            last = i
        previous = spatial[number - 1] if number else -1
        first = index
        while first - 1 > previous and _shares_module(flow, steps, previous, first - 1, index):
            first -= 1
        end = steps[last].after
        yield FlowBlock(Branch(steps[first].before, end, end))


def _shares_module(flow: Flow, steps: list[Step], other: int, one: int, two: int) -> bool:
    """Whether two steps are of one module that does not hold another step, nor is it a list."""
    calls = [set(_modules(flow, steps[i])) if i >= 0 else set() for i in (other, one, two)]
    return bool(calls[1] & calls[2] - calls[0])


def _modules(flow: Flow, step: Step) -> Iterator[int]:
    tape = flow.tape
    for call in tape.around(step.ops[-1].call):
        if call > 0 and not issubclass(tape.calls[call].kind, nn.Sequential):
            yield call
