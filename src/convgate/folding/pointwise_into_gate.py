"""The 1x1 convolution before a gate's squeeze into the first linear layer of the gate.

    W1 (W z + b) + b1 = (W1 W) z + (W1 b + b1)

with z the pooled input of the convolution: once a squeeze comes first, nothing lies between the
two. The product is as small as the gate's hidden width, so W is not read a second time. It holds
for the gates that begin with a linear layer (SE, SELN, CA), not for those that do not (ECA, ELA,
FCA).
"""

import copy
from typing import Any

from torch import Tensor, nn

from convgate.folding.net import Net, Step
from convgate.folding.norms import layer_like
from convgate.gates import PooledGate

IDENTITY = "1x1 convolution into the gate's first layer"


def first_layer_of(net: Net, parts: list[Step]) -> Any:
    """Return the layer that a gate begins with, if ``parts`` is all that its scale follows from."""
    scales = _scales(parts)
    return None if scales is None else _layer(_gate(net, scales))


def fold_into_gate(net: Net, parts: list[Step], conv: nn.Conv2d) -> None:
    """Let the gate that is given ``parts`` compute what it did with them after ``conv``."""
    scales: Any = _scales(parts)
    owner = scales.args[0]
    gate = copy.deepcopy(_gate(net, scales))
    layer = _layer(gate)
    setattr(gate, gate.first_layer, _merged(layer, conv))  # type: ignore[arg-type]
    net.note_fold(owner.target, IDENTITY, 0, 0)
    net.replace_module(owner, gate)


def _scales(parts: list[Step]) -> Step | None:
    """Return the step that makes a scale of ``parts`` and of nothing else."""
    users = {user for part in parts for user in part.users}
    if len(users) != 1:
        return None
    (step,) = users
    known = step.op == "call_method" and step.target == "scales"
    return step if known and list(step.args[1:]) == parts else None


def _gate(net: Net, scales: Any) -> PooledGate:
    gate = net.module.get_submodule(scales.args[0].target)
    assert isinstance(gate, PooledGate)
    return gate


def _layer(gate: PooledGate) -> Any:
    return None if gate.first_layer is None else getattr(gate, gate.first_layer)


def _merged(layer: Any, conv: nn.Conv2d) -> nn.Module:
    first, second = conv.weight.flatten(1).double(), layer.weight.flatten(1).double()
    weight = second @ first
    bias: Tensor | None = None if layer.bias is None else layer.bias.double()
    if conv.bias is not None:
        shift = second @ conv.bias.double()
        bias = shift if bias is None else bias + shift
    shaped = weight.reshape(*weight.shape, *layer.weight.shape[2:]).to(layer.weight.dtype)
    return layer_like(layer, shaped, None if bias is None else bias.to(shaped.dtype))
