"""EAN against equations 6 to 9, written channel by channel."""

import pytest
import torch

from convgate.errors import InputError
from convgate.gates import create_gate


def expected(weights_total):
    """Build the paper's equations for one way of summing the squared weights."""

    def naive(gate, x):
        root = (weights_total(gate.gamma**2) + 1e-5) ** 0.5
        width = x.shape[1] // gate.groups
        samples = []
        for sample in x:
            channels = []
            for c, image in enumerate(sample):
                i = c % width  # the place inside its group
                mean = image.sum() / image.numel()
                var = ((image - mean) ** 2).sum() / image.numel()
                normed = gate.gamma[i] * (image - mean) / (var + 1e-5) ** 0.5 + gate.beta[i]
                z = normed * gate.alpha[i] * gate.gamma[i] / root + gate.delta[i]
                channels.append(image / (1 + torch.exp(-z)))
            samples.append(torch.stack(channels))
        return torch.stack(samples)

    return naive


@pytest.mark.parametrize("groups", [1, 4, 8])
@pytest.mark.parametrize("size", [(5, 4), (1, 3), (1, 1)])
def test_the_paper_sums_the_squared_weights(groups, size, check_equation, scramble):
    gate = scramble(create_gate("ean", 8, groups=groups))
    check_equation(gate, torch.randn(2, 8, *size), expected(torch.sum))


@pytest.mark.parametrize("groups", [1, 4, 8])
def test_the_code_averages_the_squared_weights(groups, check_equation, scramble):
    gate = scramble(create_gate("ean_code", 8, groups=groups))
    check_equation(gate, torch.randn(2, 8, 5, 4), expected(torch.mean))


@pytest.mark.parametrize("name", ["ean", "ean_code"])
def test_a_fresh_gate_halves_its_input(name):
    x = torch.randn(2, 16, 3, 3)
    torch.testing.assert_close(create_gate(name, 16)(x), x / 2)


def test_groups_share_one_set_of_parameters():
    """EAN-ResNet-50 at 64 groups: 4 C/G parameters at 256, 512, 1024 and 2048 channels."""
    counts = [
        sum(p.numel() for p in create_gate("ean", c, groups=64).parameters())
        for c in (256, 512, 1024, 2048)
    ]
    assert counts == [16, 32, 64, 128]


def test_published_mobilenext_adds_2084_parameters():
    """18 sites of sum C = 8,336 at 16 groups add 4 C/16 = 2,084 parameters."""
    assert 4 * 8336 // 16 == 2084
    gate = create_gate("ean_code", 96, groups=16)
    assert sum(p.numel() for p in gate.parameters()) == 24


def test_indivisible_channels_name_the_nearest_groups():
    with pytest.raises(InputError, match=r"channels=20 .* groups=8; use groups=5 or groups=10"):
        create_gate("ean", 20)
