"""SRM against its equation, the batch norm written out for training and evaluation."""

import pytest
import torch

from convgate.errors import InputError
from convgate.gates import create_gate


def style(gate, image, c):
    count = image.numel()
    mean = image.sum() / count
    var = ((image - mean) ** 2).sum() / max(count - 1, 1)
    return gate.weight[c, 0] * mean + gate.weight[c, 1] * (var + 1e-5) ** 0.5


def expected(gate, x):
    z = torch.stack([torch.stack([style(gate, i, c) for c, i in enumerate(s)]) for s in x])
    if gate.training:
        mean = z.sum(0) / len(z)
        var = ((z - mean) ** 2).sum(0) / len(z)
    else:
        mean, var = gate.norm.running_mean, gate.norm.running_var
    z = (z - mean) / (var + 1e-5) ** 0.5 * gate.norm.weight + gate.norm.bias
    return x / (1 + torch.exp(-z))[:, :, None, None]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [(5, 4), (1, 2), (1, 1)])
def test_value_and_gradients(training, size, check_equation, scramble):
    gate = scramble(create_gate("srm", 6)).train(training)
    check_equation(gate, torch.randn(4, 6, *size), expected)


def test_a_fresh_gate_halves_its_input():
    x = torch.randn(2, 8, 3, 3)
    torch.testing.assert_close(create_gate("srm", 8)(x), x / 2)


def test_four_parameters_a_channel():
    assert sum(p.numel() for p in create_gate("srm", 64).parameters()) == 4 * 64


def test_a_training_batch_of_one_is_refused():
    gate = create_gate("srm", 8)
    with pytest.raises(InputError, match="batch of 2 or more"):
        gate(torch.randn(1, 8, 3, 3))
    assert gate.eval()(torch.randn(1, 8, 3, 3)).shape == (1, 8, 3, 3)
