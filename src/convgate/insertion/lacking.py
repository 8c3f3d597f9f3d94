"""Why some blocks of a network have no `block_end`, in words."""

from collections import Counter
from collections.abc import Iterator

from torch import Tensor, nn

from convgate.insertion.block import FlowBlock
from convgate.insertion.blocks import count_without_map
from convgate.insertion.flow import Flow
from convgate.insertion.sites import located_blocks
from convgate.insertion.trace import flow_of


def reasons(model: nn.Module, example_input: Tensor | None = None) -> str:
    """Return what the blocks without a `block_end` are, with how many there are of each kind.

    As in "2 work on tensors that are no map, 1 ends in a tensor that no module gives or takes
    (stages.3.downsample.attn)".
    """
    flow = flow_of(model, example_input)
    blocks = located_blocks(model, flow)
    makers = [_maker(flow, form) for form, block in blocks if "block_end" not in block.sites]
    runs = Counter(call.path for call in flow.tape.calls)
    repeated = [path for path in makers if runs[path] > 1]
    loose = [path for path in makers if runs[path] <= 1]
    return ", ".join(_words(count_without_map(flow), repeated, loose))


def _words(tokens: int, repeated: list[str], loose: list[str]) -> Iterator[str]:
    if tokens:
        yield f"{tokens} work{'s' * (tokens == 1)} on tensors that are no map"
    if repeated:
        yield f"{len(repeated)} run{'s' * (len(repeated) == 1)} more than once{_first(repeated)}"
    if loose:
        ends = "ends in a tensor" if len(loose) == 1 else "end in tensors"
        yield f"{len(loose)} {ends} that no module gives or takes{_first(loose)}"


def _first(paths: list[str]) -> str:
    named = next(filter(None, paths), "")
    return f" ({named}{' first' * (len(paths) > 1)})" if named else ""


def _maker(flow: Flow, form: FlowBlock) -> str:
    """Return the module whose own code makes the end of a block's branch."""
    tape = flow.tape
    return tape.calls[tape.ops[tape.producer[form.main.end]].call].path
