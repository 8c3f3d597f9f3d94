"""A gate's pooling before the 1x1 convolution instead of after it.

    pool(W h + b)_p = sum_q a_pq (W h_q + b) = W sum_q a_pq h_q + b sum_q a_pq
                    = W pool(h)_p + b,    because the weights a_p of a mean sum to one

So the gate is known from h, which in a bottleneck is four times narrower, before the wide tensor
exists, and the wide tensor is never read for pooling. It holds for means of any kind (over the
image, a row, a column, a window), and not for norms, deviations or maxima, nor over an activation.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convgate.folding.net import GATE, Net, Step, numel, shape
from convgate.folding.pointwise_into_gate import first_layer_of, fold_into_gate
from convgate.folding.steps import is_pointwise

IDENTITY = "squeeze before the 1x1 convolution"
TOO_COSTLY = "the squeeze before its 1x1 convolution would cost more than the one after it"

# Multiply-adds taken to be as long as reading one number from memory: an estimate for processors,
# not a measurement; only gates with many pooled positions (strips) are near the limit.
MACS_PER_READ = 20


def mix(z: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return W z + b for pooled maps z (N, C, H, W), weight (C', C, 1, 1)."""
    weight, bias = weight.to(z.dtype), None if bias is None else bias.to(z.dtype)
    if z.shape[2:] == (1, 1):
        return F.linear(z.flatten(1), weight.flatten(1), bias)[:, :, None, None]
    return F.conv2d(z, weight, bias)


def squeeze_first(net: Net) -> None:
    """Pool before the 1x1 convolution wherever that is exact and saves more than it costs."""
    for step, parts in _pools(net):
        wide: Any = _input(step)
        conv = net.called(wide, nn.Conv2d)
        if conv is None or not is_pointwise(conv):
            continue
        h, path = wide.args[0], step.meta.get(GATE, wide.target)
        first = first_layer_of(net, parts)
        rows = conv.out_channels if first is None else first.weight.shape[0]
        macs = sum(math.prod(shape(part)[2:]) for part in parts) * conv.in_channels * rows
        if numel(h) + macs / MACS_PER_READ > numel(wide):
            net.note_kept(step.target if step.op == "call_module" else path, TOO_COSTLY)
            continue
        net.note_fold(path, IDENTITY, numel(wide), numel(h))
        step.replace_input_with(wide, h)
        if first is not None:
            fold_into_gate(net, parts, conv)
            continue
        for part in parts:
            _convolve_after(net, part, str(wide.target), conv)
    net.refresh()


def _pools(net: Net) -> Iterator[tuple[Step, list[Step]]]:
    """Yield the steps that pool, and the steps that hold what each of them gives."""
    for step in list(net.graph.nodes):
        if step.op == "call_method" and step.target == "pool":
            yield step, list(step.users)
        elif _is_mean(net, step):
            yield step, [step]


def _is_mean(net: Net, step: Step) -> bool:
    """Whether a step is a network's own spatial mean, (N, C, H, W) to (N, C, 1, 1)."""
    if net.called(step, nn.AdaptiveAvgPool2d) is None and step.target not in ("mean", torch.mean):
        return False
    taken = shape(_input(step))
    return len(taken) == 4 and taken[2:] != (1, 1) and shape(step) == (*taken[:2], 1, 1)


def _input(step: Step) -> object:
    place = 1 if step.target == "pool" else 0
    return step.args[place] if len(step.args) > place else None  # it may have been given by name


def _convolve_after(net: Net, part: Step, path: str, conv: nn.Conv2d) -> None:
    """Let the users of pooled h have it after the convolution."""
    after = part.next
    with net.graph.inserting_before(after):
        weight = net.graph.get_attr(f"{path}.weight")
        bias = None if conv.bias is None else net.graph.get_attr(f"{path}.bias")
        new = net.graph.call_function(mix, (part, weight, bias))
    part.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)
