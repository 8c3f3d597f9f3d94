import pytest
import torch

from convgate.errors import InputError
from convgate.gates import SELN, create_gate


def expected(gate, x):
    """Equations 6 and 7, a sample at a time."""
    samples = []
    for one in x:
        z = one.sum((1, 2)) / one[0].numel()
        hidden = (gate.squeeze.weight @ z + gate.squeeze.bias).clamp(min=0)
        s = gate.excite.weight @ hidden + gate.excite.bias
        mean = s.sum() / len(s)
        var = ((s - mean) ** 2).sum() / len(s)
        s = gate.norm.weight * (s - mean) / (var + gate.norm.eps) ** 0.5 + gate.norm.bias
        samples.append(torch.stack([s_c * x_c for s_c, x_c in zip(s, one, strict=True)]))
    return torch.stack(samples)


@pytest.mark.parametrize("options", [{}, {"reduction": 4, "eps": 0.1}])
@pytest.mark.parametrize("size", [(4, 5), (1, 1)])
def test_equals_the_equation(check_equation, scramble, size, options):
    check_equation(scramble(SELN(32, **options)), torch.randn(2, 32, *size), expected)


def test_eps_is_the_published_one():
    assert SELN(16).norm.eps == 1e-5


def test_parameters_by_hand():
    assert sum(p.numel() for p in SELN(64).parameters()) == 2 * 64 * 4 + 4 + 64 + 2 * 64


def test_a_fresh_scale_has_zero_mean_and_both_signs():
    s = SELN(64).gate(torch.randn(4, 64, 6, 6)).squeeze()
    torch.testing.assert_close(s.mean(1), torch.zeros(4), atol=1e-5, rtol=0)
    assert (s.min(1).values < 0).all()
    assert (s.max(1).values > 0).all()


def test_identity_can_be_left_at_the_first_step(scramble):
    x = torch.randn(2, 32, 6, 6)
    gate = scramble(SELN(32))
    assert gate.constant_() == 1
    assert torch.equal(gate(x), x)
    gate(x).square().sum().backward()
    assert gate.norm.weight.grad.abs().max() > 0
    assert gate.norm.bias.grad.abs().max() > 0


def test_no_hidden_unit():
    with pytest.raises(
        InputError, match=r"SELN: channels=8 .* at reduction=16; use reduction <= 8"
    ):
        SELN(8)
    with pytest.raises(InputError, match="SELN: reduction=0 must be 1 or more"):
        SELN(8, reduction=0)


@pytest.mark.parametrize(
    ("channels", "hidden"),
    [(72, 24), (120, 32), (480, 120), (672, 168), (960, 240), (40, 16)],
)
def test_hidden_width_is_the_mobilenets_multiple_of_eight(channels, hidden):
    # the widths of MobileNetV3-Large: C/4 to the nearest multiple of 8, never below 0.9 C/4
    for name in ("se", "seln"):
        gate = create_gate(name, channels, reduction=4, divisor=8)
        assert gate.squeeze.out_features == hidden
