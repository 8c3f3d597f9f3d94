"""The affine part of ELA's norm as a depthwise convolution with one tap.

    g_c n_cp + t_c = conv(n)_cp    with the weight g_c and the bias t_c of channel c

with n the normalised strips. It is no fewer multiplications, but other loops: OpenVINO runs an
affine and its sigmoid along a strip, 7 values long in a ResNet's last stage, or, where it may fuse
them with the product, again at every position of the map. As a convolution they run over channels,
once, with the sigmoid inside.
"""

import copy
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convgate.folding.net import Net
from convgate.gates import ELA

IDENTITY = "affine of strips as a depthwise convolution"


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
            net.did(owner.target, IDENTITY, 0, 0)
            net.swap(owner, twin)
    net.settle()
