import pytest
import torch

from convgate.gates import GRN


def expected(gate, x):
    """Algorithm 1 on channels-last samples, as published."""
    samples = []
    for one in x.permute(0, 2, 3, 1):  # (H, W, C)
        norm = (one * one).sum((0, 1)) ** 0.5
        n = norm / (norm.sum() / len(norm) + gate.eps)
        samples.append(gate.gamma * (one * n) + gate.beta + one)
    return torch.stack(samples).permute(0, 3, 1, 2)


@pytest.mark.parametrize("size", [(4, 5), (1, 1)])
def test_equals_the_equation(check_equation, scramble, size):
    check_equation(scramble(GRN(6)), torch.randn(2, 6, *size), expected)


def test_starts_and_restarts_as_the_identity(scramble):
    x = torch.randn(2, 6, 4, 4)
    gate = GRN(6)
    assert torch.equal(gate(x), x)
    scramble(gate)
    assert not torch.equal(gate(x), x)
    assert gate.constant_() == 1
    assert torch.equal(gate(x), x)
    gate(x).square().sum().backward()
    assert gate.gamma.grad.abs().min() > 0
    assert gate.beta.grad.abs().min() > 0


def test_gate_is_the_scale_without_the_shift(scramble):
    gate = scramble(GRN(6))
    x = torch.randn(2, 6, 4, 4)
    shift = gate.beta[:, None, None]
    torch.testing.assert_close(gate(x), x * gate.gate(x) + shift)
    assert not gate.is_product


@pytest.mark.parametrize("value", [0.0, 6e4])
def test_half_precision_extremes_stay_finite(scramble, value):
    gate = scramble(GRN(6)).half()
    x = torch.full((2, 6, 8, 8), value, dtype=torch.float16, requires_grad=True)
    s = gate.gate(x)
    s.sum().backward()
    assert torch.isfinite(s).all()
    assert torch.isfinite(x.grad).all()


def test_two_parameters_a_channel():
    assert sum(p.numel() for p in GRN(64).parameters()) == 2 * 64
