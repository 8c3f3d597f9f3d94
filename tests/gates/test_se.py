import pytest
import torch

from convgate.errors import InputError
from convgate.gates import SE

SHAPE = (2, 12, 3, 5)


def scale_before_activation(gate, sample):
    """Equations 2 and 3 of the paper for one sample (C, H, W)."""
    z = sample.sum((1, 2)) / sample[0].numel()
    b1 = 0 if gate.squeeze.bias is None else gate.squeeze.bias
    b2 = 0 if gate.excite.bias is None else gate.excite.bias
    return gate.excite.weight @ (gate.squeeze.weight @ z + b1).clamp(min=0) + b2


ACTIVATIONS = {
    "sigmoid": lambda s: 1 / (1 + (-s).exp()),
    "hard_sigmoid": lambda s: (s + 3).clamp(0, 6) / 6,
    "tanh": lambda s: (s.exp() - (-s).exp()) / (s.exp() + (-s).exp()),
    "identity": lambda s: s,
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_equals_the_equation(check_equation, scramble, activation, bias):
    def expected(gate, x):
        scales = [ACTIVATIONS[activation](scale_before_activation(gate, one)) for one in x]
        return torch.stack([s[:, None, None] * one for s, one in zip(scales, x, strict=True)])

    gate = scramble(SE(12, reduction=4, bias=bias, activation=activation))
    check_equation(gate, torch.randn(SHAPE), expected)


@pytest.mark.parametrize(
    ("channels", "options", "hidden"),
    [(64, {}, 4), (8, {}, 1), (16, {"min_hidden": 8}, 8), (256, {"reduction": 32}, 8)],
)
def test_hidden_width(channels, options, hidden):
    gate = SE(channels, **options)
    assert gate.squeeze.weight.shape == (hidden, channels)
    assert gate.excite.weight.shape == (channels, hidden)


def test_parameters_by_hand():
    assert sum(p.numel() for p in SE(64).parameters()) == 2 * 64 * 4 + 4 + 64
    assert sum(p.numel() for p in SE(64, bias=False).parameters()) == 2 * 64 * 4


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["sigmoid", "hard_sigmoid"])
def test_a_last_layer_of_zero_gives_one_half(activation, bias):
    gate, x = SE(12, activation=activation, bias=bias), torch.randn(SHAPE)
    assert gate.constant_() == 0.5
    assert torch.equal(gate(x), 0.5 * x)


def test_identity_is_reached_by_the_linear_form_alone():
    x = torch.randn(SHAPE)
    gate = SE(12, activation="identity")
    assert gate.constant_() == 1
    assert torch.equal(gate(x), x)
    for other in (SE(12, activation="tanh"), SE(12, activation="identity", bias=False)):
        before = {name: value.clone() for name, value in other.state_dict().items()}
        assert other.constant_() is None
        for name, value in other.state_dict().items():
            assert torch.equal(value, before[name])


def test_the_first_step_can_leave_the_identity():
    gate = SE(12, reduction=2, activation="identity")
    gate.constant_()
    gate(torch.randn(SHAPE)).square().sum().backward()
    assert gate.excite.weight.grad.abs().max() > 0
    assert gate.excite.bias.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"activation": "sigmoit"}, "unknown activation of SE 'sigmoit'; did you mean 'sigmoid'"),
        ({"reduction": 0}, "SE: reduction=0 must be 1 or more"),
        ({"min_hidden": 0}, "SE: min_hidden=0 must be 1 or more"),
    ],
)
def test_bad_options(options, sentence):
    with pytest.raises(InputError, match=sentence):
        SE(16, **options)


def test_no_channels():
    with pytest.raises(InputError, match="SE: channels=0 must be 1 or more"):
        SE(0)
