"""Gates in other forms: the blend in an affine map, EAN as one, ELA's affine as a convolution."""

import pytest
import torch
from torch import nn

from convgate.folding import fold, folded
from convgate.folding.gate_forms import BLEND, EAN_AFFINE, STRIPS, AffineEAN
from convgate.folding.gates import IDENTITY as STILL
from convgate.gates import EAN, ECA, GCT, GRN, SE, SELN, EANCode, SimAM, create_gate
from convgate.insertion import Blend, Rescaled

X = torch.randn(2, 16, 5, 6, dtype=torch.float64)


def net(gate):
    return nn.Sequential(nn.Conv2d(16, 16, 1), Blend(gate))


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
    assert where(report, BLEND) == ["1"]


@pytest.mark.parametrize("gate", [SE(16, reduction=2), ECA(16), GCT(16), SimAM(16)])
def test_not_behind_a_sigmoid_or_tanh(gate, check, where):
    _, report = check(net(gate), X)
    assert where(report, BLEND) == []


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
        self.conv, self.gate = nn.Conv2d(16, 16, 1), Blend(SimAM(16))

    def forward(self, x):
        y = self.conv(x)
        return nn.functional.relu(self.gate(y), inplace=True) + y


def test_it_stays_where_its_input_would_change(scramble):
    plain = scramble(Keeps())
    nn.init.zeros_(plain.gate.alpha)
    torch.testing.assert_close(fold(plain, X)(X), plain(X))


@pytest.mark.parametrize("kind", [EAN, EANCode])
@pytest.mark.parametrize("wrap", [lambda gate: gate, Blend, lambda gate: Rescaled(gate, 0.5)])
def test_equal(kind, wrap, check, where):
    net = nn.Sequential(nn.Conv2d(16, 16, 1), wrap(kind(16, groups=4)))
    _, report = check(net, X)
    assert where(report, EAN_AFFINE) == ["1"]


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
    assert where(report, EAN_AFFINE) == []


@pytest.mark.parametrize("name", ["ela", "ela_b", "ela_s"])
@pytest.mark.parametrize("wrap", [lambda gate: gate, Blend, lambda gate: Rescaled(gate, 0.25)])
def test_equal_strips(name, wrap, check, where):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 64, 1), wrap(create_gate(name, 64)))
    made, report = check(net, torch.randn(2, 3, 12, 9))
    (place,) = where(report, STRIPS)
    assert place.startswith("2")
    kinds = {type(module).__name__ for module in made.modules()}
    assert "_Strips" in kinds and "ELA" not in kinds


@pytest.mark.parametrize("name", ["ca", "ca_gn", "se"])
def test_not_for_other_gates(name, check, where):
    net = nn.Sequential(nn.Conv2d(3, 64, 1), create_gate(name, 64))
    _, report = check(net, torch.randn(2, 3, 12, 9))
    assert where(report, STRIPS) == []
