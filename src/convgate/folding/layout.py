"""The layers around a gate in the order of axes that the gate has, or the gate in theirs.

A linear layer on (N, H, W, C) is a 1x1 convolution on (N, C, H, W), and what acts on every number
by itself acts so in any order of axes. Between two linear layers and a gate stand two permutations
each way; both forms do without:

    permute(W h) = conv1x1(permute(h)),    gelu(permute(h)) = permute(gelu(h)),
    permute(s h) = permute(s) permute(h),  permute_back(permute(h)) = h

In trials of the four stages of ConvNeXt-T the convolutions were the faster form on maps, the
linear layers on the last stage's few positions.
"""

import math
from typing import Any

from torch import fx, nn
from torch.nn import functional as F

from convgate.folding.net import GATE, Net, Step, shape, sole_user
from convgate.folding.steps import TO_FIRST, TO_LAST, layer_below, multiply, permutation, permute

IDENTITY = "permutations around a gate"

PLAIN = (nn.GELU, nn.ReLU, nn.SiLU, nn.Hardswish)
PLAIN_FUNCTIONS = (F.gelu, F.relu, F.silu, F.hardswish)

# Convolutions where a map has more positions than a quarter of the channels: a choice after trials
# of ConvNeXt-T's four stages at 224 px on one processor, and no more general than that.
POSITIONS_PER_CHANNEL = 0.25


def order_axes(net: Net) -> None:
    """Free every gate between linear layers on (N, H, W, C) of the permutations around it."""
    for step in list(net.graph.nodes):
        if step.target is not multiply or permutation(step.args[0]) != TO_FIRST:
            continue
        net.note_fold(step.args[0].args[0], IDENTITY, 0, 0)
        if _prefers_convolutions(step):
            _convolve_around(net, step)
    _sink(net)
    for step in list(net.graph.nodes):
        if step.target is multiply and permutation(step.args[0]) == TO_FIRST:
            _multiply_last(net, step)
    _sink(net)
    net.refresh()


def _prefers_convolutions(step: Step) -> bool:
    channels, *size = shape(step)[1:]
    return math.prod(size) >= POSITIONS_PER_CHANNEL * channels


def _convolve_around(net: Net, step: Step) -> None:
    """Make convolutions of the linear layers before and after a product with a gate's scale."""
    before: Any = step.args[0].args[0]  # type: ignore[union-attr]
    while net.called(before, nn.Linear) is None and _is_plain(net, before):
        before = before.args[0]
    last = step
    while (user := sole_user(last)) is not None and user.target is multiply:  # ELA, CA: two scales
        last = user
    after = layer_below(net, last, 1)
    for layer_step in (before, after[0] if after else None):
        layer = net.called(layer_step, nn.Linear)
        if layer is not None:
            _convolve(net, layer_step, layer)  # type: ignore[arg-type]


def _convolve(net: Net, step: Step, linear: nn.Linear) -> None:
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1, bias=linear.bias is not None)
    conv.weight = nn.Parameter(linear.weight.detach()[:, :, None, None], requires_grad=False)
    if linear.bias is not None:
        conv.bias = nn.Parameter(linear.bias.detach(), requires_grad=False)
    path = net.add_module(str(step.target), conv.eval())
    with net.graph.inserting_before(step):
        first = permute(net, step.args[0], TO_FIRST)  # type: ignore[arg-type]
        new = net.graph.call_module(path, (first,))
        last = permute(net, new, TO_LAST)
    step.replace_all_uses_with(last)
    net.graph.erase_node(step)


def _multiply_last(net: Net, step: Step) -> None:
    x, s = step.args
    with net.graph.inserting_before(step):
        scale = permute(net, s, TO_LAST)  # type: ignore[arg-type]
        new = net.graph.call_function(multiply, (x.args[0], scale))  # type: ignore[union-attr]
        new.meta.update({GATE: step.meta[GATE]} if GATE in step.meta else {})
        first = permute(net, new, TO_FIRST)
    step.replace_all_uses_with(first)
    net.graph.erase_node(step)


def _sink(net: Net) -> None:
    """Move permutations down through what acts on single numbers, until pairs of them meet."""
    for step in list(net.graph.nodes):
        order = permutation(step)
        if order not in (TO_FIRST, TO_LAST) or not step.users:
            continue
        x: Any = step.args[0]
        if permutation(x) == (TO_LAST if order == TO_FIRST else TO_FIRST):
            step.replace_all_uses_with(x.args[0])
            continue
        user = sole_user(step)
        if user is not None and _is_plain(net, user) and _meets_another(net, user, order):
            with net.graph.inserting_after(user):
                moved = permute(net, user, order)
            _replace_but_in(user, moved)
            user.replace_input_with(step, x)
    net.graph.eliminate_dead_code()


def _replace_but_in(step: Step, new: Step) -> None:
    """Let all users of a step use another that is made of it."""
    step.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)


def _meets_another(net: Net, step: Step, order: tuple[int, ...]) -> bool:
    """Whether a permutation the other way follows."""
    user = sole_user(step)
    while user is not None and _is_plain(net, user):
        user = sole_user(user)
    return permutation(user) not in (None, order)


def _is_plain(net: Net, step: object) -> bool:
    if not isinstance(step, fx.Node):
        return False
    return step.target in PLAIN_FUNCTIONS or net.called(step, nn.Module).__class__ in PLAIN
