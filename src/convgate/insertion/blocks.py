"""The blocks of a network, read off its flow.

- A residual block is a sum of a value, or of a light projection of it, and of a branch.
- Where the sum of a token mixer is followed by that of an MLP, both are one block.
- A sum of linear paths alone is one convolution that training has taken apart.
- Paths that part and meet in a concatenation, or in a sum without a skip, are a block; pieces that
  are appended one after another, as in DenseNet, are a block each.
- A module of a class that holds such a block elsewhere in the network is a block too, where it has
  no skip because the resolution or the width changes.
- In a plain chain a block is a spatial convolution with its norm, its activation and the pointwise
  layers that follow.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import accumulate

from convgate.insertion.block import Branch, FlowBlock, call_of, end_of, held, inside
from convgate.insertion.chain import chain
from convgate.insertion.flow import Flow
from convgate.insertion.joins import dense, merges
from convgate.insertion.residual import innermost, joined, residuals
from convgate.insertion.tape import Call


def find(flow: Flow) -> list[FlowBlock]:
    """Return the blocks of a traced network in its order."""
    if "blocks" not in flow.kept:
        flow.kept["blocks"] = _found(flow)
    return flow.kept["blocks"]


def _found(flow: Flow) -> list[FlowBlock]:
    sums = innermost(flow, residuals(flow, flow.sums))
    appended = list(dense(flow))
    met = list(merges(flow, [*sums, *appended]))
    around = [held(flow, block) for block in met]
    sums = [block for block in sums if not any(end_of(flow, block) in ops for ops in around)]
    found = [*joined(flow, sums), *appended, *met]
    found = [replace(block, call=call_of(flow, block)) for block in found]
    found += list(_of_known_classes(flow, found))
    return sorted(found, key=lambda block: end_of(flow, block)) or list(chain(flow))


def count_without_map(flow: Flow) -> int:
    """Count the residual sums outside of blocks whose tensors are no maps: those of tokens."""
    if "tokens" not in flow.kept:
        closed = set[int]().union(*(inside(flow, block) for block in find(flow)))
        others = [each for each in flow.sums_of_tokens if each.index not in closed]
        flow.kept["tokens"] = len(innermost(flow, residuals(flow, others)))
    return flow.kept["tokens"]


def _of_known_classes(flow: Flow, blocks: list[FlowBlock]) -> Iterator[FlowBlock]:
    """Yield the blocks without a join: modules of a class that holds one elsewhere."""
    tape = flow.tape
    outs = sorted(end_of(flow, block) for block in blocks)
    calls = [tape.calls[block.call] for block in blocks if block.call >= 0]
    classes = {call.kind for call in calls}
    beside, above = _places({call.path for call in calls})
    inner = _covered(calls)
    for index, call in enumerate(tape.calls):
        alike = call.kind in classes or _is_in_stage(call, beside, above)
        holds = bisect_left(outs, call.first) < bisect_left(outs, call.last)
        if not alike or holds or inner(call.first):
            continue
        branch = _whole(flow, call)
        if branch is not None:
            yield FlowBlock(branch, call=index)


def _covered(calls: list[Call]) -> Callable[[int], bool]:
    """Return what tells whether an operation lies inside one of the calls."""
    spans = sorted((call.first, call.last) for call in calls)
    firsts = [first for first, _ in spans]
    ends = list(accumulate((last for _, last in spans), max))

    def inner(operation: int) -> bool:
        before = bisect_right(firsts, operation)
        return before > 0 and ends[before - 1] > operation

    return inner


def _places(paths: set[str]) -> tuple[set[str], set[str]]:
    """Return what holds the lists that hold blocks, and every module above a block."""
    stages = {path.rpartition(".")[0] for path in paths}
    beside = {stage.rpartition(".")[0] for stage in stages if stage.rpartition(".")[2].isdigit()}
    above = {path[:end] for path in paths for end, sign in enumerate(path) if sign == "."}
    return beside, above


def _is_in_stage(call: Call, beside: set[str], full: set[str]) -> bool:
    """Whether a module stands in a list without a block, beside the lists that hold them."""
    above, _, name = call.path.rpartition(".")
    around, _, number = above.rpartition(".")
    listed = name.isdigit() and number.isdigit() and bool(around) and around in beside
    return listed and above not in full and not call.is_leaf


def _whole(flow: Flow, call: Call) -> Branch | None:
    """Return what a module computes, if it turns a map into a map by spatial convolutions."""
    if call.taken is None or call.given is None:
        return None
    if not (flow.is_map(call.taken) and flow.is_map(call.given)):
        return None
    if not flow.dominates(call.taken, call.given):
        return None
    ops = (flow.tape.ops[i] for i in flow.between(call.taken, call.given))
    if not any(flow.kind(op) in ("spatial", "mix") for op in ops):
        return None
    return Branch(call.taken, call.given, call.given)
