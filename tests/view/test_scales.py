"""Scales before and after the activation, against each gate's equation."""

import math

import pytest
import torch
from timm.layers.squeeze_excite import EffectiveSEModule
from torch import nn
from torchvision.ops import SqueezeExcitation

from convgate.errors import InputError
from convgate.gates import create_gate, list_gates
from convgate.insertion import Blend, Rescaled, insert
from convgate.models import create_model
from convgate.view import find_gates, measure_scales
from convgate.view.activations import run_watched, scale_of
from convgate.view.scales import NEAR, LayerScales, choose_layers, draw_scales


class Gated(nn.Module):
    """A convolution, a gate on it."""

    def __init__(self, gate, channels=16):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, bias=False)
        self.gate = gate

    def forward(self, x):
        return self.gate(self.conv(x))


@pytest.fixture
def look(network, pixels):
    """Measure a gate behind a convolution; return the layers, and what the gate received."""

    def measure(gate, channels=16):
        net = network(Gated(gate, channels))
        x = net.model.conv(net.normalise(pixels)).detach()
        return measure_scales(net, torch.split(pixels, 3)), x

    return measure


def randomise(gate):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in gate.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return gate.eval()


def check(layer, before, after):
    """Compare with z and s of all pictures, (N, C, positions)."""
    close = {"atol": 1e-5, "rtol": 1e-4}
    torch.testing.assert_close(layer.mean_before, before.mean((0, 2)).double(), **close)
    torch.testing.assert_close(layer.mean_after, after.mean((0, 2)).double(), **close)
    torch.testing.assert_close(layer.lowest, after.amin((0, 2)), **close)
    torch.testing.assert_close(layer.highest, after.amax((0, 2)), **close)
    assert layer.pictures == len(before)


def test_se(look):
    gate = randomise(create_gate("se", 16, reduction=4))
    (layer,), x = look(gate)
    z = torch.relu(x.mean((2, 3)) @ gate.squeeze.weight.T + gate.squeeze.bias)
    z = (z @ gate.excite.weight.T + gate.excite.bias).detach()[..., None]
    assert layer.kind.name == "sigmoid"
    check(layer, z, 1 / (1 + (-z).exp()))


def test_seln(look):
    gate = randomise(create_gate("seln", 16, reduction=4))
    (layer,), x = look(gate)
    z = torch.relu(x.mean((2, 3)) @ gate.squeeze.weight.T + gate.squeeze.bias)
    z = (z @ gate.excite.weight.T + gate.excite.bias).detach()
    normal = (z - z.mean(1, keepdim=True)) / (z.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    after = (normal * gate.norm.weight + gate.norm.bias).detach()
    assert layer.kind.name == "LN" and not layer.saturated.any()
    check(layer, z[..., None], after[..., None])


def test_eca(look):
    gate = randomise(create_gate("eca", 16, kernel_size=3))
    (layer,), x = look(gate)
    means = nn.functional.pad(x.mean((2, 3)), (1, 1))
    weight = gate.conv.weight.detach().flatten()
    z = sum(weight[k] * means[:, k : k + 16] for k in range(3))[..., None]
    check(layer, z, torch.sigmoid(z))


def test_gct_s_scale_is_one_more_than_its_tanh(look):
    gate = randomise(create_gate("gct", 16))
    (layer,), x = look(gate)
    e = gate.alpha * (x.square().sum((2, 3)) + 1e-5).sqrt()
    z = (e * gate.gamma / (e.square().mean(1, keepdim=True) + 1e-5).sqrt() + gate.beta).detach()
    check(layer, z[..., None], 1 + torch.tanh(z)[..., None])


def test_ean_is_summed_over_positions(look):
    gate = randomise(create_gate("ean", 16, groups=4))
    (layer,), x = look(gate)
    g, b, a, d = (p.detach().repeat(4)[:, None, None] for p in gate.parameters())
    w = g / (g[:4].square().sum() + 1e-5).sqrt()
    var, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
    z = a * w * (g * (x - mean) / (var + 1e-5).sqrt() + b) + d
    check(layer, z.flatten(2), torch.sigmoid(z).flatten(2))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_a_blended_gate_shows_the_scale_that_is_applied(look, alpha):
    """y = (1 + alpha (s - 1)) x: no output and no bias, so y / x is the scale."""
    gate = Blend(randomise(create_gate("se", 16, reduction=4))).eval()
    nn.init.constant_(gate.alpha, alpha)
    (layer,), x = look(gate)
    inner = gate.gate
    z = torch.relu(x.mean((2, 3)) @ inner.squeeze.weight.T + inner.squeeze.bias)
    z = (z @ inner.excite.weight.T + inner.excite.bias).detach()[..., None]
    check(layer, z, 1 + alpha * (1 / (1 + (-z).exp()) - 1))
    applied = (gate(x) / x).flatten(2).detach()
    torch.testing.assert_close(layer.mean_after.float(), applied.median(2).values.mean(0))


def test_a_rescaled_gate_shows_the_scale_that_is_applied(look):
    gate = Rescaled(randomise(create_gate("eca", 16, kernel_size=3)), 0.5)
    (layer,), x = look(gate)
    applied = (gate(x) / x).flatten(2).detach()  # the same number at every position
    torch.testing.assert_close(layer.mean_after.float(), applied.median(2).values.mean(0))


def test_each_of_two_factors_takes_the_root_of_the_gain(look):
    inner = randomise(create_gate("ela", 16, num_groups=4))
    torch.manual_seed(0)  # the same convolution
    plain, _ = look(inner)
    torch.manual_seed(0)
    for doubled, own in zip(look(Rescaled(inner, 0.25))[0], plain, strict=True):
        torch.testing.assert_close(doubled.mean_after, 2 * own.mean_after)


@pytest.mark.parametrize("name", ["grn", "sa"])
def test_a_blended_module_that_is_no_product(look, name):
    """GRN: y = x + alpha ((1 + gamma n) x + beta - x), whose factor of x is 1 + alpha gamma n."""
    options = {"groups": 4} if name == "sa" else {}
    gate = Blend(randomise(create_gate(name, 16, **options))).eval()
    nn.init.constant_(gate.alpha, 0.3)
    torch.manual_seed(0)
    layers, x = look(gate)
    if name == "grn":
        n = x.square().sum((2, 3)).sqrt()
        n = n / (n.mean(1, keepdim=True) + 1e-6)
        factor = (1 + 0.3 * gate.gate.gamma * n).detach()[..., None]
        check(layers[0], factor, factor)
    else:  # two activations: of each its own factor
        inner = randomise(create_gate(name, 16, groups=4))
        torch.manual_seed(0)  # the same convolution
        for layer, plain in zip(layers, look(inner)[0], strict=True):
            expected = 1 + 0.3 * (plain.mean_after - 1)
            torch.testing.assert_close(layer.mean_after, expected, atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(layer.mean_before, plain.mean_before)


def test_what_the_blend_switches_off_is_not_dead(look):
    gate = Blend(with_bias([-30.0, 30.0, 0.0, 1.0])).eval()
    (layer,), _ = look(gate, 4)
    assert not layer.dead.any()  # every scale is 1
    assert layer.saturated.tolist() == [True, True, False, False]  # the activation is
    nn.init.ones_(gate.alpha)
    (layer,), _ = look(gate, 4)
    assert layer.dead.tolist() == [True, False, False, False]


def test_ca_has_one_scale_a_direction(look):
    gate = randomise(create_gate("ca", 16))
    (rows, columns), x = look(gate)
    assert (rows.layer, columns.layer) == ("gate (1)", "gate (2)")
    f = torch.cat([x.mean(3), x.mean(2)], 2)[..., None]
    f = nn.functional.hardswish(gate.norm(gate.squeeze(f)))[..., 0].detach()
    h = x.shape[2]
    for layer, conv, part in (
        (rows, gate.excite_h, f[..., :h]),
        (columns, gate.excite_w, f[..., h:]),
    ):
        z = (conv.weight[..., 0, 0] @ part + conv.bias[:, None]).detach()
        check(layer, z, torch.sigmoid(z))


@pytest.mark.parametrize("activation", [nn.Sigmoid, nn.Hardsigmoid])
def test_torchvision_s_squeeze_excitation(activation):
    torch.manual_seed(0)
    se, x = SqueezeExcitation(16, 4, scale_activation=activation), torch.randn(2, 16, 5, 5)
    scaled, (call,) = run_watched(lambda: scale_of(se, x))
    with torch.no_grad():
        z = se.fc2(torch.relu(se.fc1(x.mean((2, 3), keepdim=True)))).flatten(1)[..., None]
        torch.testing.assert_close(scaled, se(x))
    torch.testing.assert_close(call.before, z)
    torch.testing.assert_close(call.after, activation()(z))


def test_a_hard_sigmoid_that_is_written_out(look):
    """relu6(z + 3) / 6 is 0 up to z = -3 and 1 from 3 on."""
    gate = create_gate("se", 4, reduction=4, activation="hard_sigmoid")
    nn.init.zeros_(gate.excite.weight)
    z = torch.tensor([-4.0, -1.5, 0.0, 3.5])
    gate.excite.bias.data = z
    (layer,), _ = look(gate.eval(), 4)
    assert layer.kind.name == "h-sigmoid"
    torch.testing.assert_close(layer.mean_before.float(), z)
    torch.testing.assert_close(layer.mean_after.float(), torch.tensor([0.0, 0.25, 0.5, 1.0]))
    assert (layer.dead.tolist(), layer.saturated.tolist()) == (
        [True, False, False, False],
        [False, False, False, True],
    )


def test_an_activation_in_place_does_not_overwrite_what_was_before_it():
    gate = EffectiveSEModule(4, gate_layer="sigmoid")
    x = torch.randn(2, 4, 3, 3)
    with torch.no_grad():
        z = gate.fc(x.mean((2, 3), keepdim=True)).flatten(1)[..., None]
    _, (call,) = run_watched(lambda: torch.sigmoid_(gate.fc(x.mean((2, 3), keepdim=True))))
    torch.testing.assert_close(call.before, z)


@pytest.mark.parametrize("name", list_gates())
def test_every_gate_has_scales(look, name):
    torch.manual_seed(0)
    layers, x = look(create_gate(name, 128).eval(), 128)
    gate = create_gate(name, 128)
    assert 1 <= len(layers) <= 2
    for layer in layers:
        assert layer.pictures == 8
        assert (layer.lowest <= layer.mean_after + 1e-5).all()
        assert (layer.mean_after <= layer.highest + 1e-5).all()
        if layer.kind is None:
            assert name in ("grn", "pdfam", "pdfam_gmm")
            assert torch.equal(layer.before, layer.after)
    assert gate.channels == x.shape[1]


def with_bias(values):
    """SE whose scale is the sigmoid of given numbers, whatever it sees."""
    gate = create_gate("se", len(values), reduction=4)
    nn.init.zeros_(gate.excite.weight)
    gate.excite.bias.data = torch.tensor(values)
    return gate.eval()


def test_dead_and_saturated_are_counted_at_the_limits(look):
    """At sigmoid(z) = 2^-8 z is log(1 / 255), and the other limit is its mirror image."""
    edge = math.log(NEAR / (1 - NEAR))
    assert edge == pytest.approx(math.log(1 / 255))
    values = [edge - 0.01, edge + 0.01, 0.0, -edge - 0.01, -edge + 0.01, -30.0, 30.0, 1.0]
    (layer,), _ = look(with_bias(values), 8)
    assert layer.dead.tolist() == [True, False, False, False, False, True, False, False]
    assert layer.saturated.tolist() == [False, False, False, False, True, False, True, False]
    assert (layer.summary()["dead"], layer.summary()["saturated"]) == (2, 2)


def test_a_channel_is_dead_only_if_it_is_so_in_every_picture(network, pixels):
    gate = create_gate("se", 4, reduction=4)
    for part in (gate.squeeze, gate.excite):
        nn.init.zeros_(part.bias)
        nn.init.ones_(part.weight)
    net = network(Gated(gate, 4))
    nn.init.constant_(net.model.conv.weight, 1.0)
    gate.excite.weight.data.fill_(1.0)
    gate.excite.bias.data.fill_(-20.0)
    dark, bright = pixels * 0, pixels * 0 + 255
    assert measure_scales(net, [dark])[0].dead.all()
    assert not measure_scales(net, [bright])[0].dead.any()
    assert not measure_scales(net, [dark, bright])[0].dead.any()


def test_tanh_is_dead_in_the_middle_and_saturated_at_both_ends(look):
    gate = create_gate("se", 4, reduction=4, activation="tanh")
    nn.init.zeros_(gate.excite.weight)
    gate.excite.bias.data = torch.tensor([0.0, 20.0, -20.0, 0.5])
    (layer,), _ = look(gate.eval(), 4)
    assert layer.dead.tolist() == [True, False, False, False]
    assert layer.saturated.tolist() == [False, True, True, False]


def test_batches_of_any_size_give_the_same(network, pixels):
    net = network(Gated(randomise(create_gate("ean", 16, groups=4))))
    whole, single = (measure_scales(net, torch.split(pixels, size))[0] for size in (8, 1))
    for name in ("mean_before", "mean_after", "lowest", "highest", "farthest"):
        torch.testing.assert_close(getattr(single, name), getattr(whole, name))


@pytest.mark.parametrize(
    ("name", "count", "kind"),
    [
        ("selnext_atto", 12, "LN"),
        ("mobilenetv3_small_050", 9, "h-sigmoid"),
        ("torchvision/mobilenet_v3_small", 9, "h-sigmoid"),
        ("seresnet18", 8, "sigmoid"),
        ("ecaresnet26t", 8, "sigmoid"),
        ("efficientnet_b0", 16, "sigmoid"),
    ],
)
def test_the_attention_that_a_network_came_with(network, pixels, name, count, kind):
    """A number for every block of the family that has one (its tables of blocks)."""
    net = network(create_model(name), 32)
    found = measure_scales(net, [pixels.repeat(1, 1, 2, 2)[:2]])
    assert len(found) == len(find_gates(net.model)) == count
    assert {layer.kind.name for layer in found} == {kind}


@pytest.mark.parametrize("start", ["paper", "identity"])
def test_inserted_gates_are_found_once_however_they_start(network, pixels, start):
    torch.manual_seed(0)
    model = create_model("resnet8")
    insert(model, "eca", start=start)
    net = network(model, 16)
    before = net.model(net.normalise(pixels))
    hooks = [len(m._forward_pre_hooks) for m in model.modules()]
    found = measure_scales(net, [pixels])
    assert [layer.layer for layer in found] == [f"layer{i}.0.bn2.gate" for i in (1, 2, 3)]
    assert torch.equal(net.model(net.normalise(pixels)), before)
    assert [len(m._forward_pre_hooks) for m in model.modules()] == hooks


def test_rows_hold_each_channel(look):
    (layer,), _ = look(with_bias([0.0, -30.0, 30.0, 1.0]), 4)
    rows = layer.rows()
    assert [row["channel"] for row in rows] == [0, 1, 2, 3]
    assert [row["scale"] for row in rows] == pytest.approx([0.5, 0, 1, 1 / (1 + math.exp(-1))])
    assert [row["before"] for row in rows] == [0.0, -30.0, 30.0, 1.0]


def test_a_network_without_a_gate(network, pixels):
    with pytest.raises(InputError, match="net has no gate to look at"):
        measure_scales(network(create_model("resnet8"), 16), [pixels])


def test_the_chart_has_a_row_a_layer_and_a_dot_a_channel(look):
    (layer,), _ = look(with_bias([0.0, -30.0, 30.0, 1.0]), 4)
    spec = draw_scales([layer], "net: 8 pictures").to_dict()
    (row,) = spec["vconcat"]
    left, right = row["hconcat"]
    (values,) = spec["datasets"].values()
    assert [v["state"] for v in values] == ["in use", "dead", "saturated", "in use"]
    assert (left["title"], right["title"]) == ("gate", "after (sigmoid)")
    assert spec["title"]["text"] == "net: 8 pictures"


def test_four_layers_at_even_steps_are_drawn_unless_some_are_named():
    layers = [LayerScales(f"layer{i}", None) for i in range(10)]
    assert [x.layer for x in choose_layers(layers)] == ["layer0", "layer3", "layer6", "layer9"]
    assert [x.layer for x in choose_layers(layers, ["layer[45]"])] == ["layer4", "layer5"]
    with pytest.raises(InputError, match="unknown gated layer 'x'"):
        choose_layers(layers, ["x"])
