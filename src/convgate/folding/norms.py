"""A batch norm into the convolution before it.

    norm(W h + b) = g (W h + b - m) / r + t,    r = sqrt(v + eps)
                  = (g / r) W h + (g (b - m) / r + t)

with the running mean m and variance v, and g, t the norm's own weight and bias: a convolution with
other numbers. It holds in evaluation, and only where nothing stands between the two.
"""

import copy
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from convgate.folding.net import Net, Step, numel, sole_user
from convgate.folding.pointwise import multiply
from convgate.folding.trace import FROZEN
from convgate.gates import Gate
from convgate.insertion import IdentityStart

IDENTITY = "norm into the convolution before it"


def fold_norms(net: Net) -> None:
    """Fold every batch norm whose input is the output of a convolution that nothing else uses."""
    for step, norm in net.steps(nn.Module):
        if not _is_norm(norm):
            continue
        before = step.args[0]
        conv = net.called(before, nn.Conv2d)
        if conv is None or sole_user(before) is not step or is_shared(net, before):
            if _is_gate(net, before):
                net.keep(step.target, "a gate stands between the convolution and the norm")
            continue
        _fold(net, step, norm, before, conv)
    net.settle()


def _is_gate(net: Net, step: Any) -> bool:
    gates = Gate, IdentityStart
    return isinstance(net.called(step, nn.Module), gates) or step.target is multiply


def _fold(net: Net, step: Step, norm: Any, before: Any, conv: nn.Conv2d) -> None:
    weight, bias = fuse_conv_bn_weights(
        *(conv.weight, conv.bias, norm.running_mean, norm.running_var),
        *(norm.eps, norm.weight, norm.bias),
    )
    net.did(before.target, IDENTITY, 2 * numel(step), 0)
    net.swap(before, like(conv, weight, bias))
    act = getattr(norm, "act", None)  # timm has both in one module
    if act is None or isinstance(act, nn.Identity):
        step.replace_all_uses_with(before)
        return
    step.target = f"{step.target}.act"


def like(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> Any:
    """Return a layer that differs from ``layer`` in its numbers alone."""
    twin = copy.deepcopy(layer)
    for name in list(twin._modules):  # a gate that was put on it
        delattr(twin, name)
    twin.weight = nn.Parameter(weight.detach(), requires_grad=False)
    twin.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)  # type: ignore[assignment]
    return twin


def _is_norm(module: nn.Module) -> bool:
    if type(module).__name__ in FROZEN:
        return True
    return isinstance(module, nn.BatchNorm2d) and module.running_mean is not None


def is_shared(net: Net, step: Any) -> bool:
    """Whether another step calls the same module."""
    calls = [other for other in net.graph.nodes if other.op == "call_module"]
    return sum(other.target == step.target for other in calls) > 1
