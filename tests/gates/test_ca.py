import pytest
import torch

from convgate.errors import InputError
from convgate.gates import CA, GATES, create_gate


def normalise(gate, t):
    """Batch or group norm of (N, hidden, H + W), group by group."""
    if isinstance(gate.norm, torch.nn.GroupNorm):
        parts = []
        for one in t:
            for group in one.chunk(gate.norm.num_groups):
                mean = group.sum() / group.numel()
                var = ((group - mean) ** 2).sum() / group.numel()
                parts.append((group - mean) / (var + 1e-5) ** 0.5)
        t = torch.cat(parts).view(t.shape)
    else:
        mean, var = gate.norm.running_mean[:, None], gate.norm.running_var[:, None]
        if gate.training:
            mean = t.mean((0, 2))[:, None]
            var = ((t - mean) ** 2).mean((0, 2))[:, None]
        t = (t - mean) / (var + 1e-5) ** 0.5
    return t * gate.norm.weight[:, None] + gate.norm.bias[:, None]


def linear(conv, t):
    """A 1x1 convolution of (N, C, L)."""
    y = torch.einsum("oc,ncl->nol", conv.weight[:, :, 0, 0], t)
    return y if conv.bias is None else y + conv.bias[:, None]


def expected(gate, x):
    """Equations 4 to 9."""
    h, w = x.shape[2:]
    rows = torch.stack([x[:, :, i, :].sum(-1) / w for i in range(h)], -1)
    columns = torch.stack([x[:, :, :, j].sum(-1) / h for j in range(w)], -1)
    t = normalise(gate, linear(gate.squeeze, torch.cat([rows, columns], -1)))
    f = t * (t + 3).clamp(0, 6) / 6
    g_h = 1 / (1 + (-linear(gate.excite_h, f[..., :h])).exp())
    g_w = 1 / (1 + (-linear(gate.excite_w, f[..., h:])).exp())
    return x * g_h[:, :, :, None] * g_w[:, :, None, :]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ["ca", "ca_gn"])
def test_equals_the_equation(check_equation, scramble, name, bias, training):
    gate = scramble(create_gate(name, 12, bias=bias)).train(training)
    check_equation(gate, torch.randn(2, 12, 4, 5), expected)


@pytest.mark.parametrize(
    ("channels", "options", "hidden"),
    [(64, {}, 8), (512, {}, 16), (64, {"min_hidden": 1}, 2), (64, {"reduction": 4}, 16)],
)
def test_hidden_width(channels, options, hidden):
    assert CA(channels, **options).squeeze.weight.shape[:2] == (hidden, channels)


def test_parameters_by_hand():
    c, h = 64, 8
    count = sum(p.numel() for p in CA(c).parameters())
    assert count == (c * h + h) + 2 * h + 2 * (h * c + c)
    assert sum(p.numel() for p in CA(c, bias=False).parameters()) == 3 * c * h + 2 * h


@pytest.mark.parametrize(
    ("channels", "options", "groups"), [(64, {}, 4), (168, {"reduction": 8}, 1)]
)
def test_default_groups_divide_the_hidden_width(channels, options, groups):
    norm = create_gate("ca_gn", channels, **options).norm
    assert isinstance(norm, torch.nn.GroupNorm)
    assert norm.num_groups == groups


def test_the_two_names_are_one_class():
    assert GATES.factory("ca") is GATES.factory("ca_gn") is CA
    assert isinstance(create_gate("ca", 16).norm, torch.nn.BatchNorm2d)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"norm": "batsh"}, "unknown norm of CA 'batsh'; did you mean 'batch'"),
        ({"norm": "group", "num_groups": 3}, "CA: num_groups=3 does not divide the 8 hidden"),
        ({"num_groups": 4}, "CA: num_groups=4 belongs to a GroupNorm; use norm='group' or ca_gn"),
    ],
)
def test_bad_options(options, sentence):
    with pytest.raises(InputError, match=sentence):
        CA(64, **options)


RESNET50_SITES = (64, 256, 512, 1024, 2048)
RESNET18_SITES = (64, 128, 256, 512) * 3


@pytest.mark.parametrize(
    ("name", "sites", "options", "base", "printed"),
    [
        ("ca", RESNET50_SITES, {"reduction": 32, "min_hidden": 1}, 25.557, 26.080),
        ("ca", RESNET50_SITES, {"reduction": 24, "min_hidden": 1}, 25.557, 26.249),
        ("ca", RESNET50_SITES, {"reduction": 16, "min_hidden": 1}, 25.557, 26.603),
        ("ca", RESNET18_SITES, {"reduction": 16, "min_hidden": 1}, 11.690, 11.886),
        ("ca_gn", RESNET18_SITES, {"reduction": 32}, 11.690, 11.795),
        ("ca_gn", RESNET18_SITES, {"reduction": 16}, 11.690, 11.888),
    ],
)
def test_parameters_printed_in_the_ela_paper(name, sites, options, base, printed):
    """Tables 2 and 5, millions; their counter skips a GroupNorm's parameters."""
    gates = [create_gate(name, c, bias=False, **options) for c in sites]
    counted = [m for gate in gates for m in gate.modules() if name == "ca" or m is not gate.norm]
    added = sum(p.numel() for m in counted for p in m.parameters(recurse=False))
    assert base + added / 1e6 == pytest.approx(printed, abs=1e-3)
