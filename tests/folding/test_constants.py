"""Layer scale into the linear layer before it."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from convgate.folding.constants import IDENTITY, INTO_GATE
from convgate.folding.residual import IDENTITY as SUM
from convgate.gates import SE
from convgate.insertion import insert
from convgate.models.selnext_block import BlockOptions, SELNeXtBlock

X = torch.randn(2, 32, 5, 6, dtype=torch.float64)


def convnext_block():
    return timm.models.convnext.ConvNeXtBlock(32)


@pytest.mark.parametrize("conv_mlp", [True, False])
def test_timm_s_block(conv_mlp, check, where):
    block = timm.models.convnext.ConvNeXtBlock(32, conv_mlp=conv_mlp)
    assert where(check(block, X)[1], IDENTITY) == ["mlp.fc2"]


def test_torchvision_s_block(check, where):
    block = torchvision.models.convnext.CNBlock(32, 1e-6, 0.1)
    assert where(check(block, X)[1], IDENTITY) == ["block.5"]


def test_our_block(check, where):
    assert where(check(SELNeXtBlock(32, BlockOptions()), X)[1], IDENTITY) == ["mlp.fc2"]


def test_not_where_a_gate_sees_the_layer(check, where):
    block = nn.Sequential(convnext_block())  # the fold before the gate would cost more
    insert(block, "se", at="*.fc2", reduction=4)
    assert where(check(block, X)[1], IDENTITY) == []


@pytest.mark.parametrize("gate", ["se", "ela"])
@pytest.mark.parametrize("conv_mlp", [True, False])
def test_behind_a_gate_it_goes_into_the_scale(conv_mlp, gate, check, where):
    """The gate pools what the layer gives, so the layer must stay as it is."""
    block = nn.Sequential(timm.models.convnext.ConvNeXtBlock(32, conv_mlp=conv_mlp))
    options = {"reduction": 4} if gate == "se" else {"num_groups": 4}
    insert(block, gate, at="block_end", **options)
    _, report = check(block, X)
    assert (len(where(report, INTO_GATE)), where(report, IDENTITY)) == (1, [])
    assert len(where(report, SUM)) == 1


class Shared(nn.Module):
    """A scaled map that is used with and without its constant."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(32, 32, 3), SE(32, reduction=4)
        self.scale = nn.Parameter(torch.ones(32, 1, 1))

    def forward(self, x):
        y = self.gate(self.conv(x))
        return self.scale * y + torch.tanh(y)


def test_not_into_a_scale_that_serves_others(check, where):
    assert where(check(Shared(), X)[1], INTO_GATE) == []


class Scaled(nn.Module):
    """A product with a constant, of a layer's output that may serve others."""

    def __init__(self, *steps: nn.Module, shape=(32, 1, 1), twice: bool = False) -> None:
        super().__init__()
        self.steps, self.twice = nn.Sequential(*steps), twice
        self.scale = nn.Parameter(torch.ones(shape))

    def forward(self, x):
        y = self.steps(x)
        return self.scale * y + (y.square() if self.twice else 0)


def test_any_constant_of_channels(check, where):
    assert where(check(Scaled(nn.Conv2d(32, 32, 3)), X)[1], IDENTITY) == ["steps.0"]


@pytest.mark.parametrize(
    "net",
    [
        Scaled(nn.Conv2d(32, 32, 1), nn.GELU()),
        Scaled(nn.Conv2d(32, 32, 1), twice=True),
        Scaled(nn.Conv2d(32, 32, 1), shape=(5, 1)),
        Scaled(nn.Conv2d(32, 32, 1), shape=(32, 5, 6)),
        Scaled(nn.Linear(6, 6), shape=(32, 1, 1)),
    ],
)
def test_not_elsewhere(net, check, where):
    assert where(check(net, X)[1], IDENTITY) == []
