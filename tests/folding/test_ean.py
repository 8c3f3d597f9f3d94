"""EAN as one affine map before the sigmoid."""

import pytest
import torch
from torch import nn

from convgate.folding.ean import IDENTITY, AffineEAN
from convgate.gates import EAN, EANCode, SimAM
from convgate.insertion import IdentityStart

X = torch.randn(2, 16, 5, 6, dtype=torch.float64)


@pytest.mark.parametrize("kind", [EAN, EANCode])
@pytest.mark.parametrize("blended", [True, False])
def test_equal(kind, blended, check, where):
    gate = kind(16, groups=4)
    net = nn.Sequential(nn.Conv2d(16, 16, 1), IdentityStart(gate) if blended else gate)
    _, report = check(net, X)
    assert where(report, IDENTITY) == ["1"]


def test_for_one_position_and_channels_last(scramble):
    gate = scramble(EAN(16, groups=4))
    for x in (X[:, :, :1, :1], X.to(memory_format=torch.channels_last)):
        torch.testing.assert_close(AffineEAN(gate)(x), gate(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_statistics_of_half_precision_are_float32(dtype, scramble):
    gate = scramble(EAN(16, groups=4))
    y = AffineEAN(gate).to(dtype)(X.to(dtype))
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), gate(X), rtol=0.05, atol=0.05)


def test_not_for_another_gate(check, where):
    _, report = check(nn.Sequential(nn.Conv2d(16, 16, 1), SimAM(16)), X)
    assert where(report, IDENTITY) == []
