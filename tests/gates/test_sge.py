import pytest
import torch

from convgate.errors import InputError
from convgate.gates import SGE


def expected(gate, x):
    """Section 3 of the paper, a sample and a group at a time."""
    samples = []
    for one in x:
        groups = []
        for g, part in enumerate(one.chunk(gate.groups)):  # (C / G, H, W)
            h, w = part.shape[1:]
            mean = part.sum((1, 2)) / (h * w)
            t = sum(part[c] * mean[c] for c in range(len(part)))
            t = t - t.sum() / (h * w)
            std = ((t**2).sum() / max(h * w - 1, 1) + 1e-300) ** 0.5
            t = t / (std + gate.eps)
            groups.append(part / (1 + (-(gate.weight[g] * t + gate.bias[g])).exp()))
        samples.append(torch.cat(groups))
    return torch.stack(samples)


@pytest.mark.parametrize("size", [(4, 5), (1, 2), (1, 1)])
@pytest.mark.parametrize("groups", [1, 3, 12])
def test_equals_the_equation(check_equation, scramble, groups, size):
    gate = scramble(SGE(12, groups=groups))
    check_equation(gate, torch.randn(2, 12, *size), expected)


def test_starts_at_the_sigmoid_of_one():
    x = torch.randn(2, 8, 4, 4)
    torch.testing.assert_close(SGE(8, groups=4)(x), x * 0.7310585786300049)


def test_one_position_gives_the_sigmoid_of_the_bias(scramble):
    gate = scramble(SGE(8, groups=4))
    x = torch.randn(3, 8, 1, 1)
    s = torch.sigmoid(gate.bias).repeat_interleave(2)[:, None, None]
    torch.testing.assert_close(gate(x), x * s)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_input_has_finite_gradients(scramble, value):
    gate = scramble(SGE(8, groups=4))
    x = torch.full((2, 8, 4, 4), value, requires_grad=True)
    gate(x).sum().backward()
    for gradient in (x.grad, gate.weight.grad, gate.bias.grad):
        assert torch.isfinite(gradient).all()


def test_two_parameters_a_group():
    assert sum(p.numel() for p in SGE(256).parameters()) == 2 * 64


def test_groups_that_do_not_divide():
    with pytest.raises(InputError, match=r"SGE: channels=16 .*groups=64; use groups=16"):
        SGE(16)
