import pytest
import torch

from convgate.errors import InputError
from convgate.gates import GCT


def expected(gate, x):
    """Embedding, normalisation and gating, a sample at a time."""
    samples = []
    for one in x:
        if gate.norm == "l2":
            e = torch.stack(
                [
                    a * ((t * t).sum() + gate.eps) ** 0.5
                    for a, t in zip(gate.alpha, one, strict=True)
                ]
            )
            level = ((e * e).sum() / len(e) + gate.eps) ** 0.5
        else:
            e = torch.stack([a * t.abs().sum() for a, t in zip(gate.alpha, one, strict=True)])
            level = e.abs().sum() / len(e) + gate.eps
        t = gate.gamma * e / level + gate.beta
        s = 1 + (t.exp() - (-t).exp()) / (t.exp() + (-t).exp())
        samples.append(s[:, None, None] * one)
    return torch.stack(samples)


@pytest.mark.parametrize("size", [(4, 5), (1, 1)])
@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_equals_the_equation(check_equation, scramble, norm, size):
    gate = scramble(GCT(6, norm=norm))
    check_equation(gate, torch.randn(2, 6, *size), expected)


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_starts_and_restarts_as_the_identity(scramble, norm):
    x = torch.randn(2, 6, 4, 4)
    gate = GCT(6, norm=norm)
    assert torch.equal(gate(x), x)
    scramble(gate)
    assert not torch.equal(gate(x), x)
    assert gate.constant_() == 1
    assert torch.equal(gate(x), x)
    gate(x).square().sum().backward()
    assert gate.gamma.grad.abs().min() > 0
    assert gate.beta.grad.abs().min() > 0


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("value", [0.0, 6e4])
def test_half_precision_extremes_stay_finite(scramble, norm, value):
    gate = scramble(GCT(6, norm=norm)).half()
    x = torch.full((2, 6, 8, 8), value, dtype=torch.float16, requires_grad=True)
    s = gate.gate(x)
    s.sum().backward()
    assert torch.isfinite(s).all()
    assert torch.isfinite(x.grad).all()


def test_three_parameters_a_channel():
    assert sum(p.numel() for p in GCT(64).parameters()) == 3 * 64


def test_unknown_norm():
    with pytest.raises(InputError, match="unknown norm of GCT 'l3'"):
        GCT(8, norm="l3")
