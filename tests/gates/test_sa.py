import pytest
import torch

from convgate.errors import InputError
from convgate.gates import SA


def sigmoid(t):
    return 1 / (1 + (-t).exp())


def scaled_group(gate, part):
    """The two branches for one group (C / G, H, W) of one sample."""
    half = len(part) // 2
    count = part[0].numel()
    out = []
    for c in range(half):
        z = part[c].sum() / count
        out.append(part[c] * sigmoid(gate.channel_weight[c] * z + gate.channel_bias[c]))
    for c in range(half):
        t = part[half + c]
        mean = t.sum() / count
        var = ((t - mean) ** 2).sum() / count
        t = (t - mean) / (var + 1e-5) ** 0.5 * gate.norm.weight[c] + gate.norm.bias[c]
        s = sigmoid(gate.spatial_weight[c] * t + gate.spatial_bias[c])
        out.append(part[half + c] * s)
    return torch.stack(out)


def expected(gate, x):
    samples = []
    for one in x:
        y = torch.cat([scaled_group(gate, part) for part in one.chunk(gate.groups)])
        half = len(y) // 2
        order = [c for pair in zip(range(half), range(half, 2 * half), strict=True) for c in pair]
        samples.append(y[order])
    return torch.stack(samples)


@pytest.mark.parametrize("size", [(4, 5), (1, 1)])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_equals_the_equation(check_equation, scramble, groups, size):
    gate = scramble(SA(12, groups=groups))
    check_equation(gate, torch.randn(2, 12, *size), expected)


def test_one_sample_one_group_one_position():
    x = torch.randn(1, 4, 1, 1)
    assert torch.isfinite(SA(4, groups=1)(x)).all()


def test_a_fresh_gate_scales_by_the_sigmoid_of_one_and_shuffles():
    x = torch.randn(2, 8, 3, 3)
    y = SA(8, groups=2)(x)
    torch.testing.assert_close(y, x[:, [0, 4, 1, 5, 2, 6, 3, 7]] * 0.7310585786300049)


def test_gate_is_the_scale_before_the_shuffle(scramble):
    gate = scramble(SA(8, groups=2))
    x = torch.randn(2, 8, 3, 3)
    y = x * gate.gate(x)
    torch.testing.assert_close(gate(x)[:, 0::2], y[:, :4])
    torch.testing.assert_close(gate(x)[:, 1::2], y[:, 4:])
    assert not gate.is_product


def test_parameters_do_not_grow_with_the_groups():
    assert sum(p.numel() for p in SA(512).parameters()) == 6 * 512 // 128


@pytest.mark.parametrize(
    ("channels", "groups", "sentence"),
    [
        (64, 64, "SA: channels=64 is not divisible by twice groups=64; use groups=32"),
        (24, 8, "SA: channels=24 is not divisible by twice groups=8; use groups=6 or groups=12"),
        (9, 1, "SA: channels=9 .* use an even number of channels"),
        (8, 0, "use groups=1"),
    ],
)
def test_groups_that_do_not_divide(channels, groups, sentence):
    with pytest.raises(InputError, match=sentence):
        SA(channels, groups=groups)
