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

ELA's Table 1 has properties of gates in place of counts; these are found out from the gate itself.
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

from convgate import measure
from convgate.errors import unknown
from convgate.gates import CA, CBAM, ECA, ELA, GATES, SA, SE, SGE, Gate, create_gate
from convgate.measure.settings import evaluated
from convgate.models.hornet_block import GlobalLocalFilter
from convgate.tables import Readable
from convgate.tasks.detect.yolox_parts import Join

CostRule = Callable[[Any, Tensor, Tensor], int]
"""Module, first input and output -> operations."""

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

CHANNELS = 512  # enough for every gate's floors and groups
SIDE = 12
FAR = SIDE // 2  # from here on, beyond the reach of a 7-wide kernel at the corner

PROPERTIES = ("no_channel_reduction", "long_range", "lightweight")


@dataclass(frozen=True)
class PaperCount(Readable):
    """One network under one counter."""

    counter: str  # one of `COUNTERS`
    params: int  # numbers in the parameters that the counter sees
    flops: int  # what the counter makes of one forward pass of one image
    all_params: int  # numbers in all parameters, those of frozen batch norms left out

    @property
    def weights(self) -> int:
        return 4 * self.all_params


def count_by(model: nn.Module, example_input: Tensor, counter: str) -> PaperCount:
    """Count one forward pass; on the meta device nothing is computed.

    The gates here average with functions. Where the published ones do so with pooling modules, a
    thop counter adds what thop would have counted there.
    """
    if counter not in COUNTERS:
        raise unknown("counter", counter, COUNTERS)
    frozen = _frozen(model)
    every = sum(p.numel() for p in model.parameters() if p not in frozen)
    if counter == "mmcv":
        return PaperCount(counter, every, _by_rules(model, example_input, _mmcv_rule), every)
    if not counter.startswith("thop"):
        macs = measure.count(model, example_input).macs
        more = _by_rules(model, example_input, _hornet_rule) if counter == "hornet" else 0
        return PaperCount(counter, every, macs + more, every)
    seen = {p for m in model.modules() if _thop_rule(m, 0) for p in m.parameters(recurse=False)}
    name, _, means = counter.partition("_")
    norm = int(name[-1])
    flops = _by_rules(
        model, example_input, lambda m: _thop_rule(m, norm), lambda m: _published_rule(m, not means)
    )
    return PaperCount(counter, sum(p.numel() for p in seen - frozen), flops, every)


def properties_of(gate: str) -> dict[str, bool]:
    """Return the properties of a registered gate by column.

    - no_channel_reduction: it has no `reduction` to a narrower hidden layer.
    - long_range: the scale of a position hangs on the far half of its own row and column at least
      twice as much as on far positions that share neither.
    - lightweight: with twice the channels it has at most twice the parameters.
    """
    sizes = [
        sum(p.numel() for p in create_gate(gate, n).parameters()) for n in (CHANNELS, 2 * CHANNELS)
    ]
    return {
        "no_channel_reduction": "reduction" not in GATES.options(gate),
        "long_range": _axis_share(gate) >= 2,
        "lightweight": sizes[1] <= 2 * sizes[0],
    }


def _axis_share(gate: str) -> float:
    """Return the pull of the far half of the row and column over that of the far quarter.

    It is the slope of the corner's scale with respect to every position. Parameters are drawn at
    random, for a fresh gate may look at nothing.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = create_gate(gate, CHANNELS).double().eval()
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        x = torch.randn(1, CHANNELS, SIDE, SIDE, dtype=torch.float64, requires_grad=True)
        corner = module.gate(x).expand_as(x)[0, :, 0, 0]
        (slope,) = torch.autograd.grad(corner @ torch.randn_like(corner), x)
    pull = slope[0].square().sum(0).sqrt()  # (SIDE, SIDE)
    axes = torch.cat([pull[0, FAR:], pull[FAR:, 0]]).mean()
    return float(axes / pull[FAR:, FAR:].mean().clamp(min=1e-30))


def _frozen(model: nn.Module) -> set[nn.Parameter]:
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    return {p for m in norms for p in m.parameters(recurse=False) if not p.requires_grad}


def _by_rules(
    model: nn.Module, x: Tensor, *rules_of: Callable[[nn.Module], CostRule | None]
) -> int:
    total = 0

    def add(rule: CostRule) -> Callable[..., None]:
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


def _thop_rule(module: nn.Module, norm: int) -> CostRule | None:
    """Return the rule of thop, with ``norm`` operations for each value of a batch norm."""
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


def _published_rule(module: nn.Module, pools: bool) -> CostRule | None:
    """Return what thop sees where the published code has modules and ours computes by functions."""
    if isinstance(module, ELA):
        return lambda gate, x, y: gate.conv.weight.numel() * (x.shape[2] + x.shape[3])
    if isinstance(module, Join):  # the first map comes through an upsampling module
        return lambda _, x, y: (
            x.shape[:2].numel() * y.shape[2:].numel() * (x.shape[2:] != y.shape[2:])
        )
    if not pools or not isinstance(module, Gate):
        return None
    if isinstance(module, CA):
        return lambda gate, x, y: 2 * x.numel() + x.shape[1] * (x.shape[2] + x.shape[3])
    if isinstance(module, SA):
        return lambda gate, x, y: (x.numel() + x.shape[1]) // 2  # half of the channels
    if isinstance(module, (SE, ECA, CBAM, SGE)):
        return lambda gate, x, y: x.numel() + x.shape[1]
    return None


def _mmcv_rule(module: nn.Module) -> CostRule | None:
    """Return the rule of mmcv's counter, which knows the kinds of modules by their exact type."""
    kind = type(module)
    if kind is nn.ConvTranspose2d:
        return lambda conv, x, y: x.numel() * conv.weight[0].numel() + _biases(conv, y)
    if isinstance(module, _ConvNd):
        return lambda conv, x, y: y.numel() * conv.weight[0].numel() + _biases(conv, y)
    if isinstance(module, nn.Linear):
        return lambda linear, x, y: y.numel() * linear.in_features
    if isinstance(module, _BatchNorm) or kind in (nn.GroupNorm, nn.LayerNorm):
        return lambda _, x, y: 2 * x.numel()
    if kind in (nn.ReLU, nn.ReLU6):
        return lambda _, x, y: y.numel()
    if kind in (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d):
        return lambda _, x, y: x.numel()
    return None


def _hornet_rule(module: nn.Module) -> CostRule | None:
    """Return what HorNet's script adds to the multiply-adds."""
    if type(module) is nn.LayerNorm:  # and not a norm with channels first, which is derived from it
        return lambda _, x, y: 5 * x.numel()
    return _spectral if isinstance(module, GlobalLocalFilter) else None


def _biases(conv: Any, y: Tensor) -> int:
    return y.numel() if conv.bias is not None else 0


def _spectral(_: nn.Module, x: Tensor, y: Tensor) -> int:
    """Count both transforms of half the channels: values times log2 of channels times height.

    The script takes (N, C, H, W) for (N, H, W, C), so that C H stands where H W was meant.
    """
    n, channels, height, width = x.shape
    values = n * (channels // 2) * height * (width + width // 2 + 1)  # real in, complex in
    return values * math.ceil(math.log2(channels // 2 * height))
