"""The number that blends a gate in, into the gate's last affine map.

    SELN, SE without activation:  1 + alpha (g n + t - 1) = (alpha g) n + (1 + alpha (t - 1))
    GRN:  x + alpha ((1 + gamma n) x + beta - x) = (1 + (alpha gamma) n) x + alpha beta

An affine map stays one. It does not hold behind a sigmoid or a tanh, where the blend remains a
product and a sum on the small scale.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from convgate.folding.net import Net
from convgate.gates import GRN, SE, SELN, Gate
from convgate.insertion import IdentityStart

IDENTITY = "blend into the gate's last affine map"


def fold_alpha(net: Net) -> None:
    """Replace every blended gate that ends in an affine map by the gate with other numbers."""
    for step, blended in net.steps(IdentityStart):
        gate = _blended(blended.gate, blended.alpha)
        if gate is not None:
            net.swap(step, gate)
            net.did(step.target, IDENTITY, 0, 0)
    net.settle()


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
