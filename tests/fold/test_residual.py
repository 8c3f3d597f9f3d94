"""Scale and residual sum in one pass."""

import pytest
import torch
from torch import nn

from convgate.fold.residual import IDENTITY, scale_and_add
from convgate.gates import ELA, GRN, SE, SimAM

X = torch.randn(2, 16, 5, 6, dtype=torch.float64)


@pytest.mark.parametrize("act", [True, False])
@pytest.mark.parametrize("gate", [SE(16, reduction=2), ELA(16, num_groups=4)])
def test_equal_to_the_product_and_the_sum(gate, act, check, branch, where):
    made, report = check(branch(nn.Conv2d(16, 16, 1), gate, act=act), X)
    assert len(where(report, IDENTITY)) == 1
    calls = [node.target for node in made.graph.nodes]
    assert scale_and_add in calls


def test_written_out():
    y, s, shortcut = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 1, 1), torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(scale_and_add(y, s, shortcut), s * y + shortcut)


@pytest.mark.parametrize("after", [nn.ReLU(), nn.BatchNorm2d(16)])
def test_not_over_a_step_in_between(after, check, branch, where):
    _, report = check(branch(nn.Conv2d(16, 16, 1), SE(16, reduction=2), after), X)
    assert where(report, IDENTITY) == []


@pytest.mark.parametrize("gate", [SimAM(16), GRN(16)])
def test_not_for_what_is_no_scale_alone(gate, check, branch, where):
    _, report = check(branch(nn.Conv2d(16, 16, 1), gate), X)
    assert where(report, IDENTITY) == []


class Twice(nn.Module):
    """A product that two steps use."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(16, 16, 1), SE(16, reduction=2)

    def forward(self, x):
        y = self.gate(self.conv(x))
        return y + x + torch.relu(y)


def test_not_where_others_use_the_product(check, where):
    _, report = check(Twice(), X)
    assert where(report, IDENTITY) == []
