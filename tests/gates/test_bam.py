import pytest
import torch
import torch.nn.functional as F

from convgate.errors import InputError
from convgate.gates import BAM


def normalise(norm, t, training):
    """Batch norm over all axes but the second."""
    axes = [0, *range(2, t.ndim)]
    shape = [1, -1] + [1] * (t.ndim - 2)
    mean, var = norm.running_mean, norm.running_var
    if training:
        mean = t.mean(axes)
        var = ((t - mean.view(shape)) ** 2).mean(axes)
    t = (t - mean.view(shape)) / (var.view(shape) + 1e-5) ** 0.5
    return t * norm.weight.view(shape) + norm.bias.view(shape)


def dilated(conv, t):
    """A 3x3 convolution as nine shifted products."""
    d = conv.dilation[0]
    h, w = t.shape[2:]
    padded = F.pad(t, (d, d, d, d))
    y = 0
    for i in range(3):
        for j in range(3):
            part = padded[:, :, i * d : i * d + h, j * d : j * d + w]
            y = y + torch.einsum("oc,nchw->nohw", conv.weight[:, :, i, j], part)
    return y + conv.bias[:, None, None]


def pointwise(conv, t):
    return torch.einsum("oc,nchw->nohw", conv.weight[:, :, 0, 0], t) + conv.bias[:, None, None]


def expected(gate, x):
    z = x.sum((2, 3)) / (x.shape[2] * x.shape[3])
    hidden = z @ gate.squeeze.weight.T + gate.squeeze.bias
    hidden = normalise(gate.norm, hidden, gate.training).clamp(min=0)
    channel = hidden @ gate.excite.weight.T + gate.excite.bias
    first, second, third, last = gate.spatial
    t = normalise(first[1], pointwise(first[0], x), gate.training).clamp(min=0)
    t = normalise(second[1], dilated(second[0], t), gate.training).clamp(min=0)
    t = normalise(third[1], dilated(third[0], t), gate.training).clamp(min=0)
    product = channel[:, :, None, None] * pointwise(last, t)
    return (1 + 1 / (1 + (-product).exp())) * x


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dilation", [4, 1])
def test_equals_the_equation(check_equation, scramble, dilation, training):
    gate = scramble(BAM(12, reduction=4, dilation=dilation)).train(training)
    check_equation(gate, torch.randn(3, 12, 5, 7), expected)


def test_wide_inputs_use_every_column():
    """The published pooling window is H x H; ours must see the columns beyond it."""
    gate = BAM(8).eval()
    x = torch.zeros(1, 8, 2, 6)
    pooled = []
    gate.squeeze.register_forward_pre_hook(lambda _, args: pooled.append(args[0]))
    x[..., -1] = 6.0
    gate(x)
    torch.testing.assert_close(pooled[0], torch.ones(1, 8))


def test_parameters_by_hand():
    c, h = 64, 4
    channel = c * h + h + 2 * h + h * c + c
    spatial = (c * h + h + 2 * h) + 2 * (9 * h * h + h + 2 * h) + h + 1
    assert sum(p.numel() for p in BAM(c).parameters()) == channel + spatial


def test_gate_lies_between_one_and_two():
    s = BAM(16).gate(torch.randn(4, 16, 5, 5))
    assert s.min() > 1
    assert s.max() < 2


def test_a_training_batch_of_one():
    x = torch.randn(1, 16, 5, 5)
    with pytest.raises(InputError, match="BAM: its batch norm cannot train on a single value"):
        BAM(16).train()(x)
    assert BAM(16).eval()(x).shape == x.shape


def test_bad_dilation():
    with pytest.raises(InputError, match="BAM: dilation=0 must be 1 or more"):
        BAM(16, dilation=0)
