"""Gates written in another form that is the same function with less to do.

The number that blends a gate in, into the gate's last affine map.

    SELN, SE without activation:  1 + alpha (g n + t - 1) = (alpha g) n + (1 + alpha (t - 1))
    GRN:  x + alpha ((1 + gamma n) x + beta - x) = (1 + (alpha gamma) n) x + alpha beta

An affine map stays one. It does not hold behind a sigmoid or a tanh, where the blend remains a
product and a sum on the small scale.

EAN's statistics, its own affine part and its weights as one affine map before the sigmoid.

    alpha w (gamma (x - m) r + beta) + delta = a x + b,    r = 1 / sqrt(v + eps)
    a = (alpha w gamma) r,    b = (alpha w beta + delta) - m a

with m and v the mean and variance of a channel of x, so x is read once for them and once for
sigmoid(a x + b) x. It holds for any numbers; the parameters' part is computed once.

The affine part of ELA's norm as a depthwise convolution with one tap.

    g_c n_cp + t_c = conv(n)_cp    with the weight g_c and the bias t_c of channel c

with n the normalised strips. It is no fewer multiplications, but other loops: OpenVINO runs an
affine and its sigmoid along a strip, 7 values long in a ResNet's last stage, or, where it may fuse
them with the product, again at every position of the map. As a convolution they run over channels,
once, with the sigmoid inside.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convgate.folding.net import Net, numel
from convgate.gates import EAN, ELA, GRN, SE, SELN, Gate
from convgate.gates.base import statistics_dtype
from convgate.insertion import Blend, Rescaled

BLEND = "blend into the gate's last affine map"
EAN_AFFINE = "EAN as one affine map before the sigmoid"
STRIPS = "affine of strips as a depthwise convolution"


def fold_blends(net: Net) -> None:
    """Replace every blended gate that ends in an affine map by the gate with other numbers."""
    for step, blended in net.steps(Blend):
        gate = _blended(blended.gate, blended.alpha)
        if gate is not None:
            net.replace_module(step, gate)
            net.note_fold(step.target, BLEND, 0, 0)
    net.refresh()


def _blended(gate: Gate, alpha: Tensor) -> Gate | None:
    twin: Any = copy.deepcopy(gate)
    if isinstance(gate, GRN):
        twin.gamma, twin.beta = _fixed(alpha * gate.gamma), _fixed(alpha * gate.beta)
        return twin
    if isinstance(gate, SELN):
        last = twin.norm
    elif isinstance(gate, SE) and gate.activation == "identity":
        last = twin.excite
    else:
        return None
    bias = torch.zeros_like(last.weight[..., 0]) if last.bias is None else last.bias
    last.weight = _fixed(alpha * last.weight)
    last.bias = _fixed(1 + alpha * (bias - 1))
    return twin


def _fixed(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.detach(), requires_grad=False)


class AffineEAN(Gate):
    """EAN with its parameters folded into a slope and a shift for each channel.

        s = gain sigmoid(a x + b),    a = slope / sqrt(var_hw(x) + eps),    b = shift - mean_hw(x) a

    Shape: x (N, C, H, W) -> y (N, C, H, W); s is (N, C, H, W).
    Source: AAAI 2024, eq. 6-9, as in `EAN`.
    """

    slope: Tensor
    shift: Tensor

    def __init__(self, gate: EAN, gain: float = 1.0) -> None:
        super().__init__(gate.channels)
        self.eps = gate.eps
        self.gain = gain
        weight = gate.alpha * gate.gamma * (gate.energy(gate.gamma) + gate.eps).rsqrt()
        shift = weight * gate.beta + gate.delta
        for name, value in (("slope", weight * gate.gamma), ("shift", shift)):
            self.register_buffer(name, value.detach().repeat(gate.groups)[:, None, None])

    def gate(self, x: Tensor) -> Tensor:
        dtype = statistics_dtype(x)
        wide = x.to(dtype)
        var, mean = torch.var_mean(wide, (2, 3), correction=0, keepdim=True)
        a = self.slope.to(dtype) * (var + self.eps).rsqrt()
        b = self.shift.to(dtype) - mean * a
        s = torch.addcmul(b, wide, a).sigmoid_()
        return s if self.gain == 1 else s.mul_(self.gain)

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(x).to(x.dtype).mul_(x)


def fold_ean(net: Net) -> None:
    """Fold the parameters of every EAN, blended in or not."""
    for step, module in net.steps(nn.Module):
        if isinstance(module, EAN):
            net.replace_module(step, AffineEAN(module))
        elif isinstance(module, Rescaled) and isinstance(module.gate, EAN):
            net.replace_module(step, AffineEAN(module.gate, module.gain))
        elif isinstance(module, Blend) and isinstance(module.gate, EAN):
            blended = Blend(AffineEAN(module.gate))
            blended.alpha = module.alpha
            net.replace_module(step, blended)
        else:
            continue
        net.note_fold(step.target, EAN_AFFINE, 7 * numel(step), 5 * numel(step))
    net.refresh()


class _Strips(ELA):
    """An ELA whose norm's affine is a convolution."""

    def normalised(self, z: Tensor) -> Tensor:
        norm = self.norm
        z = torch.group_norm(z, norm.num_groups, None, None, norm.eps)
        gamma, beta = norm.weight[:, None, None, None], norm.bias
        return F.conv2d(z, gamma.to(z.dtype), beta.to(z.dtype), groups=self.channels)


def convolve_strips(net: Net) -> None:
    """Exchange every ELA whose scales are steps of their own."""
    for step in list(net.graph.nodes):
        if step.op != "call_method" or step.target != "scales":
            continue
        owner: Any = step.args[0]
        gate = net.module.get_submodule(owner.target)
        if type(gate) is ELA:
            twin = copy.deepcopy(gate)
            twin.__class__ = _Strips
            net.note_fold(owner.target, STRIPS, 0, 0)
            net.replace_module(owner, twin)
    net.refresh()
