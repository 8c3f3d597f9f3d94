import pytest
import torch

from convgate.errors import InputError
from convgate.gates import ECA


def expected(gate, x):
    """Equation 9: every channel's mean with those of its k - 1 nearest neighbours."""
    weight = gate.conv.weight[0, 0]
    reach = len(weight) // 2
    n, channels = x.shape[:2]
    z = x.sum((2, 3)) / (x.shape[2] * x.shape[3])
    rows = []
    for i in range(n):
        sums = []
        for c in range(channels):
            near = range(max(c - reach, 0), min(c + reach + 1, channels))
            sums.append(sum(weight[m - c + reach] * z[i, m] for m in near))
        rows.append(torch.stack(sums))
    s = 1 / (1 + (-torch.stack(rows)).exp())
    return s[:, :, None, None] * x


@pytest.mark.parametrize("kernel_size", [None, 1, 3, 7])
def test_equals_the_equation(check_equation, scramble, kernel_size):
    gate = scramble(ECA(12, kernel_size=kernel_size))
    check_equation(gate, torch.randn(2, 12, 3, 5), expected)


@pytest.mark.parametrize(
    ("channels", "size"),
    [(64, 3), (128, 5), (256, 5), (512, 5), (1024, 5), (2048, 7), (1, 1), (2, 1), (16, 3)],
)
def test_kernel_rule_of_the_paper(channels, size):
    gate = ECA(channels)
    assert [p.shape for p in gate.parameters()] == [(1, 1, size)]


def test_kernel_longer_than_the_channels():
    x = torch.randn(2, 3, 4, 4)
    assert ECA(3, kernel_size=9)(x).shape == x.shape


@pytest.mark.parametrize(("size", "way_out"), [(4, 5), (0, 1), (-3, 1)])
def test_even_kernel(size, way_out):
    with pytest.raises(InputError, match=f"ECA: kernel_size={size} must be odd; use {way_out}$"):
        ECA(16, kernel_size=size)
