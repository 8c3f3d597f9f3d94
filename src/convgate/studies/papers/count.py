"""The counters behind the papers' columns "Params" and "FLOPs".

`macs` counts every parameter, and the multiply-adds of convolutions and matrix products. The other
counters count as the thop package does, which looks at modules alone:

* convolutions and linear layers: multiply-adds;
* batch norm: 4 operations an element (thop 0.1.1) or 2 (before it);
* average pooling: 1 for each output of a fixed window; for an adaptive one, its window + 1;
* parameters of these modules; a group norm, a bare parameter and a function are not seen.

`hornet` adds to the multiply-adds what calc_flops.py of raoyongming/HorNet does: fvcore's 5
operations for each value of `F.layer_norm` (the norms with channels first are written by hand
there, and not seen), and the script's own rule for a Fourier transform.
"""

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from convgate.errors import unknown
from convgate.gates import CA, CBAM, ECA, ELA, SA, SE, SGE, Gate
from convgate.measure import count_cost
from convgate.measure.record import Record
from convgate.measure.state import evaluated
from convgate.models.hornet_block import GlobalLocalFilter

__all__ = ["COUNTERS", "Count", "count"]

COUNTERS = {
    "macs": "multiply-adds of convolutions and matrix products; all parameters",
    "thop4": "as thop 0.1.1: what is in modules; 4 operations for each value of a batch norm",
    "thop4_means": "the same for gates that take means, and have no pooling modules",
    "hornet": "as HorNet's script: multiply-adds, 5 operations for each value of a layer norm with "
    "channels last, and n log n for a Fourier transform; all parameters",
    "thop2": "as older thops: what is in modules; 2 operations for each value of a batch norm",
}
Rule = Callable[[Any, Tensor, Tensor], int]


@dataclass(frozen=True)
class Count(Record):
    """One network under one counter.

    Attributes:
        counter: One of `COUNTERS`.
        params: Numbers in the parameters that the counter sees.
        flops: What the counter makes of one forward pass of one image.
        all_params: Numbers in all parameters.
    """

    counter: str
    params: int
    flops: int
    all_params: int


def count(model: nn.Module, example_input: Tensor, counter: str) -> Count:
    """Count one forward pass; on the meta device nothing is computed.

    The gates here average with functions. Where the published ones do so with pooling modules, a
    thop counter adds what thop would have counted there.

    Args:
        model: A network, left as it was.
        example_input: One image, (1, C, H, W).
        counter: One of `COUNTERS`.

    Raises:
        InputError: for an unknown counter.
    """
    if counter not in COUNTERS:
        raise unknown("counter", counter, COUNTERS)
    every = sum(p.numel() for p in model.parameters())
    if not counter.startswith("thop"):
        macs = count_cost(model, example_input).macs
        more = _by_rules(model, example_input, _hornet_rule) if counter == "hornet" else 0
        return Count(counter, every, macs + more, every)
    seen = {p for m in model.modules() if _rule(m, 0) for p in m.parameters(recurse=False)}
    name, _, means = counter.partition("_")
    norm = int(name[-1])
    flops = _by_rules(
        model, example_input, lambda m: _rule(m, norm), lambda m: _gate_rule(m, not means)
    )
    return Count(counter, sum(p.numel() for p in seen), flops, every)


def _by_rules(model: nn.Module, x: Tensor, *rules_of: Callable[[nn.Module], Rule | None]) -> int:
    total = 0

    def add(rule: Rule) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            nonlocal total
            total += rule(module, args[0], output)

        return hook

    with ExitStack() as stack, evaluated(model), torch.no_grad():
        for module in model.modules():
            for rule_of in rules_of:
                if (rule := rule_of(module)) is not None:
                    stack.callback(module.register_forward_hook(add(rule)).remove)
        model(x)
    return total


def _rule(module: nn.Module, norm: int) -> Rule | None:
    if isinstance(module, _ConvNd):
        return lambda conv, x, y: y.numel() * conv.weight[0].numel()
    if isinstance(module, nn.Linear):
        return lambda linear, x, y: y.numel() * linear.in_features
    if isinstance(module, _BatchNorm):
        return lambda _, x, y: norm * x.numel()
    if isinstance(module, nn.AdaptiveAvgPool2d):  # the whole map is shared out
        return lambda _, x, y: x.numel() + y.numel()
    if isinstance(module, nn.AvgPool2d):
        return lambda _, x, y: y.numel()
    return None


def _gate_rule(module: nn.Module, pools: bool) -> Rule | None:
    """Return what the published module holds as modules and ours computes with functions."""
    if isinstance(module, ELA):
        return lambda gate, x, y: gate.conv.weight.numel() * (x.shape[2] + x.shape[3])
    if not pools or not isinstance(module, Gate):
        return None
    if isinstance(module, CA):
        return lambda gate, x, y: 2 * x.numel() + x.shape[1] * (x.shape[2] + x.shape[3])
    if isinstance(module, SA):
        return lambda gate, x, y: (x.numel() + x.shape[1]) // 2  # half of the channels
    if isinstance(module, (SE, ECA, CBAM, SGE)):
        return lambda gate, x, y: x.numel() + x.shape[1]
    return None


def _hornet_rule(module: nn.Module) -> Rule | None:
    if type(module) is nn.LayerNorm:  # and not a norm with channels first, which is derived from it
        return lambda _, x, y: 5 * x.numel()
    return _spectral if isinstance(module, GlobalLocalFilter) else None


def _spectral(_: nn.Module, x: Tensor, y: Tensor) -> int:
    """Count both transforms of half the channels: values times log2 of channels times height.

    The script takes (N, C, H, W) for (N, H, W, C), so that C H stands where H W was meant.
    """
    n, channels, height, width = x.shape
    values = n * (channels // 2) * height * (width + width // 2 + 1)  # real in, complex in
    return values * math.ceil(math.log2(channels // 2 * height))
