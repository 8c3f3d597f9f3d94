"""Results stored over their input, and only where nothing else reads it."""

import pytest
import torch
from torch import nn

from convgate.folding import fold
from convgate.folding.inplace import IDENTITY
from convgate.gates import SE, SELN

X = torch.randn(2, 16, 5, 6, dtype=torch.float64)


@pytest.mark.parametrize("gate", [SE(16, reduction=2), SELN(16, reduction=2)])
def test_the_product_after_a_convolution(gate, check, where):
    _, report = check(nn.Sequential(nn.Conv2d(16, 16, 3), nn.GELU(), gate), X)
    assert len(where(report, IDENTITY)) == 2  # the GELU and the product


def test_never_in_the_network_s_input(scramble):
    net = scramble(nn.Sequential(SE(16, reduction=2), nn.GELU()))
    x = X.clone()
    made = fold(net, X)
    made(x)
    assert torch.equal(x, X)


class Keeps(nn.Module):
    """A layer whose output is read again after the step that could overwrite it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.conv, self.gate, self.kind = nn.Conv2d(16, 16, 1), SE(16, reduction=2), kind
        self.act = nn.GELU()

    def forward(self, x):
        y = self.conv(x)
        if self.kind == "product":
            return self.gate(y) - y
        if self.kind == "gelu":
            return self.act(y) * y
        if self.kind == "sum":
            return (y + x) * y
        if self.kind == "view":
            view = y.flatten(2)
            return self.act(y).flatten(2) - view
        return y, self.act(y)  # "output"


@pytest.mark.parametrize("kind", ["product", "gelu", "sum", "view"])
def test_not_what_is_read_again(kind, check, where):
    _, report = check(Keeps(kind), X)
    assert where(report, IDENTITY) == []


def test_the_approximate_gelu_stays(check, where):
    _, report = check(nn.Sequential(nn.Conv2d(16, 16, 1), nn.GELU("tanh")), X)
    assert where(report, IDENTITY) == []
