"""A layer norm's affine part into the next linear layer."""

import pytest
import timm
import torch
from timm.layers import LayerNorm2d
from torch import nn

from convgate.folding.affine import IDENTITY
from convgate.insertion import insert

X = torch.randn(2, 32, 6, 8, dtype=torch.float64)


def test_in_a_block_of_convnext(check, where):
    made, report = check(timm.models.convnext.ConvNeXtBlock(32), X)
    assert where(report, IDENTITY) == ["norm"]
    norms = [module for module in made.modules() if isinstance(module, nn.LayerNorm)]
    assert all(norm.weight is None for norm in norms)


@pytest.mark.parametrize("bias", [True, False])
def test_before_a_convolution_without_padding(bias, check, where):
    _, report = check(nn.Sequential(LayerNorm2d(32), nn.Conv2d(32, 8, 2, 2, bias=bias)), X)
    assert where(report, IDENTITY) == ["0"]


@pytest.mark.parametrize(
    "after",
    [
        [nn.Conv2d(32, 8, 3, padding=1)],
        [nn.Conv2d(32, 32, 3, groups=32)],
        [nn.ReLU(), nn.Conv2d(32, 8, 1)],
    ],
)
def test_not_elsewhere(after, check, where):
    _, report = check(nn.Sequential(LayerNorm2d(32), *after), X)
    assert where(report, IDENTITY) == []


def test_not_across_a_gate(check, where):
    block = nn.Sequential(timm.models.convnext.ConvNeXtBlock(32))
    insert(block, "se", at="spatial", reduction=4)
    assert where(check(block, X)[1], IDENTITY) == []
