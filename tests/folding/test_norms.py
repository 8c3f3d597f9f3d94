"""Batch norms into convolutions, a layer norm's affine part into the next linear layer."""

import pytest
import timm
import torch
import torchvision
from timm.layers import Conv2dSame, LayerNorm2d
from torch import nn

from convgate.folding.norms import AFFINE, IDENTITY
from convgate.insertion import insert

X = torch.randn(2, 8, 6, 7, dtype=torch.float64)
WIDE = torch.randn(2, 32, 6, 8, dtype=torch.float64)


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("bias", [True, False])
def test_after_any_convolution(groups, bias, check, where):
    conv = nn.Conv2d(8, 8, 3, 2, padding=1, groups=groups, bias=bias)
    made, report = check(nn.Sequential(conv, nn.BatchNorm2d(8, eps=0.1), nn.ReLU()), X)
    assert where(report, IDENTITY) == ["0"]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in made.modules())


def test_without_weight_and_bias(check, where):
    _, report = check(nn.Sequential(nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4, affine=False)), X)
    assert where(report, IDENTITY) == ["0"]


def test_frozen_and_with_its_activation(check, where):
    norms = (torchvision.ops.FrozenBatchNorm2d(8), timm.layers.BatchNormAct2d(8))
    for norm in norms:
        made, report = check(nn.Sequential(nn.Conv2d(8, 8, 1), norm), X)
        assert where(report, IDENTITY) == ["0"]
        assert any(isinstance(m, nn.ReLU) for m in made.modules()) == (norm is norms[1])


def test_not_across_a_gate(check, where):
    net = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))
    insert(net, "se", at="0", reduction=2)
    _, report = check(net, X)
    assert where(report, IDENTITY) == []
    assert [kept.path for kept in report.kept] == ["1", "0.gate"]
    assert "gate stands between" in report.kept[0].reason


def test_not_across_an_activation_nor_in_front(check, where):
    _, report = check(nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.BatchNorm2d(8)), X)
    assert where(report, IDENTITY) == []
    _, report = check(nn.Sequential(nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1)), X)
    assert where(report, IDENTITY) == []


class Twice(nn.Module):
    """A convolution whose output two steps use, or that is called twice."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.conv, self.norm, self.calls = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), calls

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) + (y if self.calls == 1 else self.conv(2 * x))


@pytest.mark.parametrize("calls", [1, 2])
def test_not_where_others_see_the_convolution(calls, check, where):
    _, report = check(Twice(calls), X)
    assert where(report, IDENTITY) == []


def test_in_a_block_of_convnext(check, where):
    made, report = check(timm.models.convnext.ConvNeXtBlock(32), WIDE)
    assert where(report, AFFINE) == ["norm"]
    norms = [module for module in made.modules() if isinstance(module, nn.LayerNorm)]
    assert all(norm.weight is None for norm in norms)


@pytest.mark.parametrize("bias", [True, False])
def test_before_a_convolution_without_padding(bias, check, where):
    _, report = check(nn.Sequential(LayerNorm2d(32), nn.Conv2d(32, 8, 2, 2, bias=bias)), WIDE)
    assert where(report, AFFINE) == ["0"]


@pytest.mark.parametrize(
    "after",
    [
        [nn.Conv2d(32, 8, 3, padding=1)],
        [nn.Conv2d(32, 32, 3, groups=32)],
        [nn.ReLU(), nn.Conv2d(32, 8, 1)],
    ],
)
def test_not_elsewhere(after, check, where):
    _, report = check(nn.Sequential(LayerNorm2d(32), *after), WIDE)
    assert where(report, AFFINE) == []


def test_not_across_a_gate_affine(check, where):
    block = nn.Sequential(timm.models.convnext.ConvNeXtBlock(32))
    insert(block, "se", at="spatial", reduction=4)
    assert where(check(block, WIDE)[1], AFFINE) == []


def test_tensorflows_padding_by_the_size_of_the_image_is_kept(check, where):
    """Of 6 x 7 pixels, stride 2 pads the rows on one side and the columns on both."""
    net = nn.Sequential(Conv2dSame(8, 8, 3, 2, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    made, report = check(net, X)
    assert where(report, IDENTITY) == ["0"]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in made.modules())
    before = nn.Sequential(LayerNorm2d(8), Conv2dSame(8, 8, 3))  # zeros of the padding have no norm
    _, report = check(before, X)
    assert where(report, AFFINE) == []
