"""The named sites of a network: where attention can go, under the same names for every family."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, takewhile

from torch import Tensor, nn

from convgate.gates import Gate
from convgate.insertion.axes import Axes
from convgate.insertion.block import Branch, FlowBlock
from convgate.insertion.blocks import count_without_map, find
from convgate.insertion.carriers import Carriers
from convgate.insertion.flow import Flow, Step
from convgate.insertion.identity import IdentityStart
from convgate.insertion.module_tree import Layout, TensorSite, Where, child
from convgate.insertion.tape import Value
from convgate.insertion.trace import flow_of

SITES = (
    "stem_end", "expanded", "spatial_raw", "spatial", "mixer_end", "hidden", "se", "block_end",
    "stage_end",
)  # fmt: skip
FORMS = ("view", "scale", "attention")
"""Steps between the end of a branch and the sum: layer scale, drop path, permutations."""


@dataclass(frozen=True)
class Site:
    """A place in a network that a gate can take."""

    # one of `SITES`, or the pattern that found it
    name: str
    path: str  # the module that the gate is put on
    stage: int  # 1 for the blocks of the highest resolution; 0 for what is in no stage, as the stem
    channels: int  # C of the tensor there
    layout: Layout  # "NCHW", "NHWC" for (N, H, W, C), or "NLC" for tokens (N, H W, C)
    where: Where  # "output" of the module, its "input", or a "part" of a tuple that it returns
    shape: tuple[int, int, int, int] | None = None  # (N, C, H, W) as traced
    part: int = 0  # which of the tensors that the module returns, where it is a part


@dataclass(frozen=True)
class Block:
    """A block of a network, its stage, and its tensors by site name."""

    path: str  # the module that is the block; "" where no module is it alone
    stage: int  # from 1, by resolution
    sites: dict[str, TensorSite]
    output: TensorSite | None  # what the block gives, as the output of a module


def list_sites(model: nn.Module, example_input: Tensor | None = None) -> list[Site]:
    """Return the sites of any network in its order, as its data flow shows them.

    The network is run once on an example, without data where it allows that; names of modules mean
    nothing. A site is the output of a module, its input, or a tensor of a tuple or list that it
    returns. A tensor that none of them is, as what a functional activation gives to several others,
    and one of a module that runs several times in a forward are not listed.

    - stem_end: the last tensor before the first block, before a pooling.
    - expanded: after the widening first layer of a branch, its norm and activation.
    - spatial_raw: after a branch's largest spatial convolution, before its norm.
    - spatial: the same after its norm and activation.
    - mixer_end: the end of a token mixer's branch, where the MLP has a sum of its own.
    - hidden: after the activation between the two linear layers of an MLP.
    - se: the net's own attention, a module, which `replace` and `remove` take.
    - block_end: the end of the branch, before layer scale, drop path and the addition; the end of
      the block where it has no sum.
    - stage_end: after the last block of a resolution.

    Args:
        model: The network.
        example_input: An input; by default one of the size that timm notes, else of a usual size.

    Raises:
        InputError: if the network does not run on the example.
    """
    flow = flow_of(model, example_input)
    blocks = located_blocks(model, flow)
    return [*_sites(model, flow, blocks)]


def find_blocks(model: nn.Module, example_input: Tensor | None = None) -> list[Block]:
    """Return the blocks of a network in its order."""
    flow = flow_of(model, example_input)
    return [block for _, block in located_blocks(model, flow)]


def count_blocks(model: nn.Module, example_input: Tensor | None = None) -> tuple[int, int]:
    """Return how many blocks work on maps, and how many on tokens that are none."""
    flow = flow_of(model, example_input)
    return len(find(flow)), count_without_map(flow)


def stage_of(model: nn.Module, flow: Flow, path: str, value: Value) -> int:
    """Return the stage of what a module gives or takes: that of its block, or of its resolution."""
    located = located_blocks(model, flow)
    within = (b.stage for _, b in located if b.path and f"{path}.".startswith(f"{b.path}."))
    areas = {_area(flow, form): block.stage for form, block in located}
    first = min((form.start for form, _ in located), default=value)
    height, width = flow.grid(value)
    return next(within, areas.get(height * width, 0) if value > first else 0)


def located_blocks(model: nn.Module, flow: Flow) -> list[tuple[FlowBlock, Block]]:
    """Return the blocks and their sites, found when they are first asked for."""
    if "located" not in flow.kept:
        flow.kept["located"] = _locate(model, flow)
    return flow.kept["located"]


def _locate(model: nn.Module, flow: Flow) -> list[tuple[FlowBlock, Block]]:
    carriers = Carriers(model, flow)
    found = find(flow)
    if count_without_map(flow) > len(found):  # a network of tokens, with a map in between
        return []
    areas = sorted({_area(flow, block) for block in found}, reverse=True)
    attention = _own_attention(model, flow)
    located: list[tuple[FlowBlock, Block]] = []
    for form in found:
        path = flow.tape.calls[form.call].path if form.call >= 0 else ""
        stage = areas.index(_area(flow, form)) + 1
        sites = _named(carriers, form, attention)
        located.append((form, Block(path, stage, sites, _output(carriers, form))))
    return located


def _sites(model: nn.Module, flow: Flow, blocks: list[tuple[FlowBlock, Block]]) -> Iterator[Site]:
    if not blocks:
        return
    carriers = Carriers(model, flow)
    stem = carriers.first(_before_pooling(flow, _entry(flow, blocks[0][0])))
    if stem is not None:
        yield _site("stem_end", stem, 0)
    last = {block.stage: index for index, (_, block) in enumerate(blocks)}
    for index, (_, block) in enumerate(blocks):
        for name in sorted(block.sites, key=SITES.index):
            yield _site(name, block.sites[name], block.stage)
        if last[block.stage] == index and block.output is not None:
            yield _site("stage_end", block.output, block.stage)


def _site(name: str, tensor: TensorSite, stage: int) -> Site:
    shape = (1, tensor.channels, *tensor.grid)
    place = (tensor.channels, tensor.layout, tensor.where, shape, tensor.part)
    return Site(name, tensor.path, stage, *place)


def _area(flow: Flow, block: FlowBlock) -> int:
    height, width = flow.grid(block.main.end)
    return height * width


def _entry(flow: Flow, block: FlowBlock) -> Value:
    """Return what goes into a block: into its module, where a norm comes before its branches."""
    taken = flow.tape.calls[block.call].taken if block.call >= 0 else None
    if taken is not None and flow.dominates(taken, block.start):
        return taken
    return block.start


def _before_pooling(flow: Flow, value: Value) -> list[Value]:
    found = [value]
    while value > 0 and flow.step(value).kind in ("view", "pool") and flow.step(value).is_single:
        value = flow.dominator[value]
        found.insert(0, value)
    return found


def _named(
    carriers: Carriers, block: FlowBlock, attention: dict[Value, str]
) -> dict[str, TensorSite]:
    """Return the tensors of a block by site name."""
    flow, main = carriers.flow, block.main
    steps = main.steps(flow)
    mixing = [*block.mixer.steps(flow), *steps] if block.mixer else steps
    found = {
        "block_end": carriers.first(_ends(flow, main))
        or (_output(carriers, block) if block.meets else None),
        "mixer_end": carriers.first(_ends(flow, block.mixer)) if block.mixer else None,
        "expanded": None if block.appends else _expanded(carriers, mixing),
        "hidden": _hidden(carriers, steps),
        "se": _slot(flow, mixing, attention),
    }
    spatial = _largest(mixing)
    if spatial is not None:
        after = _after(mixing, spatial)
        found["spatial_raw"] = carriers.first([mixing[spatial].after])
        found["spatial"] = carriers.first(after[::-1])
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def _ends(flow: Flow, branch: Branch) -> list[Value]:
    """Return the values at the end of a branch, from before its layer scale to the last."""
    forms = takewhile(lambda step: step.kind in FORMS, reversed(branch.steps(flow)))
    return [*reversed([step.before for step in forms]), branch.end]


def _largest(steps: list[Step]) -> int | None:
    """Return which step has the largest spatial convolution; the first of equals."""
    kernels = [step.kernel if step.kind == "spatial" else 0 for step in steps]
    return kernels.index(max(kernels)) if max(kernels, default=0) > 1 else None


def _after(
    steps: list[Step], index: int, kinds: tuple[str, ...] = ("norm", "act", "view")
) -> list[Value]:
    """Return the values after a step and those of some kinds behind it: of a layer, its norm."""
    behind = takewhile(lambda step: step.kind in kinds, steps[index + 1 :])
    return [steps[index].after, *(step.after for step in behind)]


def _layers(steps: list[Step]) -> list[int]:
    return [i for i, step in enumerate(steps) if step.kind in ("spatial", "pointwise")]


def _expanded(carriers: Carriers, steps: list[Step]) -> TensorSite | None:
    layers = _layers(steps)
    if len(layers) < 2 or _largest(steps) is None:
        return None
    first, last = steps[layers[0]], steps[layers[-1]]
    wide = _width(carriers.flow, first.after)
    if wide is None or wide <= (_width(carriers.flow, first.before) or wide):
        return None
    if wide <= (_width(carriers.flow, last.after) or wide):
        return None
    return carriers.first(_after(steps, layers[0])[::-1])


def _width(flow: Flow, value: Value) -> int | None:
    axes: Axes | None = flow.axes.get(value)
    return flow.tape.shape[value][axes.layout.index("C")] if axes and "C" in axes.layout else None


def _hidden(carriers: Carriers, steps: list[Step]) -> TensorSite | None:
    """Return what follows the activation between two pointwise layers, the first widening."""
    flow = carriers.flow
    for i, j in pairwise(_layers(steps)):
        if steps[i].kind != "pointwise" or steps[j].kind != "pointwise":
            continue
        before, wide = _width(flow, steps[i].before), _width(flow, steps[i].after)
        acts = [k for k in range(i + 1, j) if steps[k].kind == "act"]
        if acts and before is not None and wide is not None and wide > before:
            return carriers.first(_after(steps[:j], acts[0], ("view",)))
    return None


def _own_attention(model: nn.Module, flow: Flow) -> dict[Value, str]:
    """Return the modules that are a network's own attention, by what they give."""
    found: dict[Value, str] = {}
    for call in flow.tape.calls:
        if call.taken is None or call.given is None or call.given in found or not call.path:
            continue
        module = child(model, call.path)
        if isinstance(module, (Gate, IdentityStart)) or _is_attention(flow, call.taken, call.given):
            found[call.given] = call.path
    return found


def _is_attention(flow: Flow, taken: Value, given: Value) -> bool:
    if not flow.is_map(taken) or taken == given or not flow.dominates(taken, given):
        return False
    kinds = [step.kind for step in flow.chain(taken, given)]
    return "attention" in kinds and set(kinds) <= {"attention", "view"}


def _slot(flow: Flow, steps: list[Step], attention: dict[Value, str]) -> TensorSite | None:
    for step in steps:
        path = attention.get(step.after)
        axes = flow.axes.get(step.after)
        if path is not None and axes is not None and axes.layout:
            width = flow.channels(step.after)
            return TensorSite(path, "output", width, axes.layout, axes.grid)  # type: ignore[arg-type]
    return None


def _output(carriers: Carriers, form: FlowBlock) -> TensorSite | None:
    """Return what a block gives: its module's output, else its sum after an activation."""
    flow = carriers.flow
    call = flow.tape.calls[form.call] if form.call >= 0 and not form.appends else None
    if call is not None and call.given is not None and flow.is_map(call.given):
        found = carriers.of_module(call.path, call.given)
        if found is not None:
            return found
    values = [form.main.out]
    for user in iter(lambda: flow.users(values[-1]), None):
        if len(user) != 1 or flow.kind(user[0]) not in ("act", "view") or not user[0].outputs:
            break
        values.append(user[0].outputs[0])
    return carriers.first(reversed(values))
