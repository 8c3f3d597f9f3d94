"""The counters behind the papers' columns "Params" and "FLOPs".

`macs` counts every parameter, and the multiply-adds of convolutions and matrix products. The other
counters count as the thop package does, which looks at modules alone:

* convolutions and linear layers: multiply-adds;
* batch norm: 4 operations an element (thop 0.1.1) or 2 (before it);
* average pooling: 1 for each output of a fixed window; for an adaptive one, its window + 1;
* nearest upsampling: 1 for each output;
* parameters of these modules; a group norm, a bare parameter and a function are not seen.

`mmcv` counts the modules as the counter of open-mmlab/mmcv does: convolutions with their biases,
linear layers without, 2 operations for each value of a norm, 1 for each of a ReLU, and each value
that a pooling takes. Products outside of modules, such as attention's, are not seen.

`hornet` adds to the multiply-adds what calc_flops.py of raoyongming/HorNet does: fvcore's 5
operations for each value of `F.layer_norm` (the norms with channels first are written by hand
there, and not seen), and the script's own rule for a Fourier transform.

A frozen batch norm has no parameters in any of them: in detection code its numbers are buffers.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from convgate import measure
from convgate.errors import unknown
from convgate.measure.settings import evaluated
from convgate.papers.rules import Rule, hornet_rule, mmcv_rule, published_rule, thop_rule
from convgate.tables import Readable

__all__ = ["COUNTERS", "Count", "count"]

COUNTERS = {
    "macs": "multiply-adds of convolutions and matrix products; all parameters",
    "thop4": "as thop 0.1.1: what is in modules; 4 operations for each value of a batch norm",
    "thop4_means": "the same for gates that take means, and have no pooling modules",
    "hornet": "as HorNet's script: multiply-adds, 5 operations for each value of a layer norm with "
    "channels last, and n log n for a Fourier transform; all parameters",
    "mmcv": "as mmcv's counter: modules alone, convolutions with biases, 2 operations for each "
    "value of a norm, 1 for each of a ReLU; all parameters",
    "thop2": "as older thops: what is in modules; 2 operations for each value of a batch norm",
}


@dataclass(frozen=True)
class Count(Readable):
    """One network under one counter.

    Attributes:
        counter: One of `COUNTERS`.
        params: Numbers in the parameters that the counter sees.
        flops: What the counter makes of one forward pass of one image.
        all_params: Numbers in all parameters, those of frozen batch norms left out.
    """

    counter: str
    params: int
    flops: int
    all_params: int

    @property
    def weights(self) -> int:
        """Bytes of all parameters in 32-bit floats."""
        return 4 * self.all_params


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
    frozen = _frozen(model)
    every = sum(p.numel() for p in model.parameters() if p not in frozen)
    if counter == "mmcv":
        return Count(counter, every, _by_rules(model, example_input, mmcv_rule), every)
    if not counter.startswith("thop"):
        macs = measure.count(model, example_input).macs
        more = _by_rules(model, example_input, hornet_rule) if counter == "hornet" else 0
        return Count(counter, every, macs + more, every)
    seen = {p for m in model.modules() if thop_rule(m, 0) for p in m.parameters(recurse=False)}
    name, _, means = counter.partition("_")
    norm = int(name[-1])
    flops = _by_rules(
        model, example_input, lambda m: thop_rule(m, norm), lambda m: published_rule(m, not means)
    )
    return Count(counter, sum(p.numel() for p in seen - frozen), flops, every)


def _frozen(model: nn.Module) -> set[nn.Parameter]:
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    return {p for m in norms for p in m.parameters(recurse=False) if not p.requires_grad}


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
