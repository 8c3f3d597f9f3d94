"""ELA against its equations, written tap by tap, and its sizes against the paper's counts."""

import pytest
import torch

from convgate.errors import InputError
from convgate.gates import create_gate

RESNET50_SITES = (64, 256, 512, 1024, 2048)  # the stem and the four stages


def direction(gate, vectors):
    """One direction: convolution along the length, group norm, sigmoid; vectors (N, C, L)."""
    n, c, length = vectors.shape
    weight, half = gate.conv.weight, gate.conv.kernel_size[0] // 2
    per_conv_group = weight.shape[1]
    rows = []
    for b in range(n):
        z = torch.zeros(c, length, dtype=vectors.dtype)
        for o in range(c):
            first = o // per_conv_group * per_conv_group
            for i in range(per_conv_group):
                for position in range(length):
                    for tap in range(weight.shape[2]):
                        source = position + tap - half
                        if 0 <= source < length:
                            term = weight[o, i, tap] * vectors[b, first + i, source]
                            z = z.index_put((torch.tensor(o), torch.tensor(position)), term, True)
        groups = z.reshape(gate.norm.num_groups, -1)
        mean = groups.sum(1, keepdim=True) / groups.shape[1]
        var = ((groups - mean) ** 2).sum(1, keepdim=True) / groups.shape[1]
        normed = ((groups - mean) / (var + 1e-5) ** 0.5).reshape(c, length)
        z = normed * gate.norm.weight[:, None] + gate.norm.bias[:, None]
        rows.append(1 / (1 + torch.exp(-z)))
    return torch.stack(rows)


def expected(gate, x):
    a_h = direction(gate, x.sum(3) / x.shape[3])
    a_w = direction(gate, x.sum(2) / x.shape[2])
    return x * a_h[:, :, :, None] * a_w[:, :, None, :]


@pytest.mark.parametrize("size", [(3, 4), (1, 2), (1, 1)])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "num_groups": 4},
        {"kernel_size": 5, "num_groups": 2, "groups": 4},
        {"kernel_size": 3, "num_groups": 8, "group_width": 4},
    ],
)
def test_value_and_gradients(size, options, check_equation, scramble):
    gate = scramble(create_gate("ela", 8, **options))
    check_equation(gate, torch.randn(2, 8, *size), expected)


@pytest.mark.parametrize(
    ("name", "kernel_size", "conv_groups", "num_groups"),
    [
        ("ela_t", 5, 64, 32),
        ("ela_b", 7, 64, 16),
        ("ela_s", 5, 8, 16),
        ("ela_l", 7, 8, 16),
    ],
)
def test_sizes_of_section_3_3(name, kernel_size, conv_groups, num_groups):
    gate = create_gate(name, 64)
    assert gate.conv.kernel_size == (kernel_size,)
    assert gate.conv.groups == conv_groups
    assert gate.norm.num_groups == num_groups
    assert gate.conv.bias is None


@pytest.mark.parametrize(
    ("name", "added_millions"), [("ela_s", 25.7132 - 25.5570), ("ela_l", 25.7757 - 25.5570)]
)
def test_resnet50_grows_as_the_paper_prints(name, added_millions):
    """Table 5's counts leave out the group norms: the convolutions of the five sites alone."""
    added = sum(create_gate(name, c).conv.weight.numel() for c in RESNET50_SITES)
    assert added / 1e6 == pytest.approx(added_millions, abs=1e-4)


def test_one_value_per_norm_group_leaves_the_bias():
    """C = num_groups at H = W = 1: each value is its own mean, so both gates are sigmoid(bias)."""
    gate = create_gate("ela", 16, num_groups=16)
    torch.nn.init.normal_(gate.norm.bias)
    x = torch.randn(1, 16, 1, 1)
    wanted = gate.norm.bias.sigmoid().square()[:, None, None] * x
    torch.testing.assert_close(gate(x), wanted, rtol=1e-3, atol=1e-3)  # a variance of rounding


def test_group_width_counts_the_same_groups_from_the_other_side():
    assert create_gate("ela", 32, groups=4).conv.weight.shape == (32, 8, 7)
    assert create_gate("ela", 32, group_width=8).conv.weight.shape == (32, 8, 7)
    assert create_gate("ela_s", 32, groups=4).conv.groups == 4


@pytest.mark.parametrize(
    ("name", "channels", "options", "sentence"),
    [
        ("ela_b", 24, {}, r"channels=24 .* num_groups=16; use num_groups=12 or num_groups=24"),
        ("ela_t", 144, {}, r"channels=144 .* num_groups=32; use num_groups=24 or num_groups=36"),
        ("ela_s", 20, {"num_groups": 4}, r"group_width=8; use group_width=5 or group_width=10"),
        ("ela", 32, {"groups": 3}, r"groups=3; use groups=2 or groups=4"),
        ("ela_s", 32, {"groups": 8}, r"groups=8 contradicts group_width=8, which makes 4"),
        ("ela", 32, {"kernel_size": 4}, r"kernel_size=4 must be odd; use 5"),
    ],
)
def test_what_it_cannot_take(name, channels, options, sentence):
    with pytest.raises(InputError, match=sentence):
        create_gate(name, channels, **options)
