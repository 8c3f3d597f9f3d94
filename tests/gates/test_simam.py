import pytest
import torch

from convgate.errors import InputError
from convgate.gates import SimAM


def expected(gate, x):
    """The inverse of the least energy, 1 / e, of every value; a channel at a time."""
    channels = []
    for t in x.flatten(0, 1):
        mean = t.sum() / t.numel()
        var = ((t - mean) ** 2).sum() / (t.numel() - 1)
        energy = (
            4 * (var + gate.energy_lambda) / ((t - mean) ** 2 + 2 * var + 2 * gate.energy_lambda)
        )
        channels.append(t / (1 + (-1 / energy).exp()))
    return torch.stack(channels).view(x.shape)


@pytest.mark.parametrize("size", [(4, 5), (1, 2), (7, 1)])
@pytest.mark.parametrize("energy_lambda", [1e-4, 0.3])
def test_equals_the_equation(check_equation, energy_lambda, size):
    gate = SimAM(3, energy_lambda=energy_lambda)
    check_equation(gate, torch.randn(2, 3, *size), expected)


@pytest.mark.parametrize("size", [(1, 1), (4, 4)])
def test_no_distance_gives_the_sigmoid_of_a_half(size):
    x = torch.randn(2, 3, 1, 1).expand(2, 3, *size)
    torch.testing.assert_close(SimAM(3)(x), x * 0.6224593312018546)


def test_one_position_has_finite_gradients():
    x = torch.randn(2, 3, 1, 1, requires_grad=True)
    SimAM(3)(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, 0.6224593312018546))


def test_no_parameters():
    assert not list(SimAM(64).parameters())


def test_lambda_must_be_positive():
    with pytest.raises(InputError, match="SimAM: energy_lambda=0 must be above 0; use 1e-4"):
        SimAM(8, energy_lambda=0)
