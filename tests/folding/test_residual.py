"""Scale and residual sum in one pass."""

import pytest
import torch
from torch import nn

from convgate.folding.residual import IDENTITY, scale_and_add
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
    before = shortcut.clone()
    torch.testing.assert_close(scale_and_add(y, s, shortcut), s * y + shortcut)
    torch.testing.assert_close(
        scale_and_add(y, s, shortcut, "relu"), torch.clamp(s * y + shortcut, min=0)
    )
    assert torch.equal(shortcut, before)


class Ends(nn.Module):
    """A scaled branch and its shortcut, with something after the sum."""

    def __init__(self, end: str) -> None:
        super().__init__()
        self.conv, self.gate, self.end = nn.Conv2d(16, 16, 1), SE(16, reduction=2), end
        self.relu = nn.ReLU()

    def forward(self, x):
        y = self.gate(self.conv(x)) + x
        if self.end == "module":
            return self.relu(y)
        if self.end == "function":
            return torch.relu(y)
        return self.relu(y) - y if self.end == "two uses" else torch.tanh(y)


@pytest.mark.parametrize(
    ("end", "joined"), [("module", True), ("function", True), ("two uses", False), ("tanh", False)]
)
def test_with_the_relu_that_alone_uses_the_sum(end, joined, check):
    made, _ = check(Ends(end), X)
    (sum_,) = [node for node in made.graph.nodes if node.target is scale_and_add]
    assert (sum_.args[3:] == ("relu",)) == joined


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
