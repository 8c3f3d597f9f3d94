import pytest
import torch
import torch.nn.functional as F

from convgate.errors import InputError
from convgate.gates import CBAM


def channel_gate(gate, sample):
    """Equation 2 for one sample (C, H, W)."""

    def mlp(z):
        b1 = 0 if gate.squeeze.bias is None else gate.squeeze.bias
        b2 = 0 if gate.excite.bias is None else gate.excite.bias
        return gate.excite.weight @ (gate.squeeze.weight @ z + b1).clamp(min=0) + b2

    flat = sample.flatten(1)
    s = mlp(flat.sum(1) / flat.shape[1]) + mlp(flat.max(1).values)
    return 1 / (1 + (-s).exp())


def spatial_logit(gate, sample):
    """The convolution of equation 3 for one sample, position by position."""
    weight = gate.spatial.weight[0]  # (2, k, k): the maximum, then the mean
    k = weight.shape[1]
    h, w = sample.shape[1:]
    maps = torch.stack([sample.max(0).values, sample.sum(0) / sample.shape[0]])
    padded = F.pad(maps, (k // 2, k // 2, k // 2, k // 2))
    return torch.stack(
        [
            torch.stack([(weight * padded[:, i : i + k, j : j + k]).sum() for j in range(w)])
            for i in range(h)
        ]
    )


def expected(gate, x):
    gates = [channel_gate(gate, one) for one in x]
    scaled = torch.stack([s[:, None, None] * one for s, one in zip(gates, x, strict=True)])
    t = torch.stack([spatial_logit(gate, one) for one in scaled])
    if gate.norm is not None:
        mean, var = gate.norm.running_mean, gate.norm.running_var
        if gate.training:
            mean = t.sum() / t.numel()
            var = ((t - mean) ** 2).sum() / t.numel()
        t = (t - mean) / (var + 1e-5) ** 0.5 * gate.norm.weight + gate.norm.bias
    return scaled / (1 + (-t).exp())[:, None]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "options",
    [{}, {"bias": False, "norm": False, "kernel_size": 3}, {"kernel_size": 1, "min_hidden": 4}],
)
def test_equals_the_equation(check_equation, scramble, options, training):
    gate = scramble(CBAM(8, **{"reduction": 4, **options})).train(training)
    check_equation(gate, torch.randn(2, 8, 4, 5), expected)


def test_parameters_by_hand():
    def count(**options):
        return sum(p.numel() for p in CBAM(64, **options).parameters())

    assert count() == (2 * 64 * 4 + 4 + 64) + 2 * 49 + 2
    assert count(bias=False) == 2 * 64 * 4 + 2 * 49 + 2
    assert count(bias=False, norm=False, kernel_size=3, reduction=8) == 2 * 64 * 8 + 2 * 9


def test_momentum_of_the_published_norm():
    gate = CBAM(8).train()
    gate(torch.randn(2, 8, 4, 4))
    assert gate.norm.running_var.item() == pytest.approx(0.99, abs=0.02)


def test_even_kernel():
    with pytest.raises(InputError, match="CBAM: kernel_size=2 must be odd; use 3"):
        CBAM(16, kernel_size=2)


def test_a_single_position_cannot_train_the_norm():
    x = torch.randn(1, 8, 1, 1)
    with pytest.raises(InputError, match="CBAM: its batch norm cannot train on a single value"):
        CBAM(8).train()(x)
    assert CBAM(8).eval()(x).shape == x.shape
    assert CBAM(8, norm=False).train()(x).shape == x.shape
