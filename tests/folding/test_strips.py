"""The affine of ELA's norm as a depthwise convolution."""

import pytest
import torch
from torch import nn

from convgate.folding.strips import IDENTITY
from convgate.gates import create_gate
from convgate.insertion import IdentityStart


@pytest.mark.parametrize("name", ["ela", "ela_b", "ela_s"])
@pytest.mark.parametrize("wrap", [lambda gate: gate, IdentityStart])
def test_equal(name, wrap, check, where):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 64, 1), wrap(create_gate(name, 64)))
    made, report = check(net, torch.randn(2, 3, 12, 9))
    (place,) = where(report, IDENTITY)
    assert place.startswith("2")
    kinds = {type(module).__name__ for module in made.modules()}
    assert "_Strips" in kinds and "ELA" not in kinds


@pytest.mark.parametrize("name", ["ca", "ca_gn", "se"])
def test_not_for_other_gates(name, check, where):
    net = nn.Sequential(nn.Conv2d(3, 64, 1), create_gate(name, 64))
    _, report = check(net, torch.randn(2, 3, 12, 9))
    assert where(report, IDENTITY) == []
