"""The blend into the gate's last affine map, and gates that are still the identity."""

import pytest
import torch
from torch import nn

from convgate.folding import fold, folded
from convgate.folding.alpha import IDENTITY
from convgate.folding.gates import IDENTITY as STILL
from convgate.gates import ECA, GCT, GRN, SE, SELN, SimAM
from convgate.insertion import IdentityStart

X = torch.randn(2, 16, 5, 6, dtype=torch.float64)


def net(gate):
    return nn.Sequential(nn.Conv2d(16, 16, 1), IdentityStart(gate))


@pytest.mark.parametrize(
    "gate",
    [
        SELN(16, reduction=2),
        SE(16, reduction=2, activation="identity"),
        SE(16, reduction=2, activation="identity", bias=False),
        GRN(16),
    ],
)
def test_where_the_gate_ends_in_an_affine_map(gate, check, where):
    _, report = check(net(gate), X)
    assert where(report, IDENTITY) == ["1"]


@pytest.mark.parametrize("gate", [SE(16, reduction=2), ECA(16), GCT(16), SimAM(16)])
def test_not_behind_a_sigmoid_or_tanh(gate, check, where):
    _, report = check(net(gate), X)
    assert where(report, IDENTITY) == []


@pytest.mark.parametrize("gate", [SE(16, reduction=2), SimAM(16)])
def test_a_gate_that_is_still_the_identity_goes(gate, scramble):
    plain = scramble(net(gate))
    nn.init.zeros_(plain[1].alpha)
    made = fold(plain, X)
    assert [f.path for f in folded(made).folds if f.identity == STILL] == ["1"]
    assert torch.equal(made(X), plain(X))
    assert not any("1" in name for name, _ in made.named_modules())


class Keeps(nn.Module):
    """A gate whose input is used again, and whose output is changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(16, 16, 1), IdentityStart(SimAM(16))

    def forward(self, x):
        y = self.conv(x)
        return nn.functional.relu(self.gate(y), inplace=True) + y


def test_it_stays_where_its_input_would_change(scramble):
    plain = scramble(Keeps())
    nn.init.zeros_(plain.gate.alpha)
    torch.testing.assert_close(fold(plain, X)(X), plain(X))
