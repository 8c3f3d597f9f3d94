"""Maps against their equations, written out for a network small enough to do so."""

import sys

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from convgate.errors import InputError
from convgate.insertion import insert
from convgate.models import create_model
from convgate.view import activation_map, list_methods
from convgate.view.cam import ask
from convgate.view.maps import FeatureMap, last_maps

LAYER = FeatureMap("last", 6, 4, 4, "NCHW")


def to_range(values):
    return (values - values.min()) / (values.max() - values.min())


def as_picture(weights, maps, side=16):
    """Equation 2 of Grad-CAM, then the size of the picture: relu(sum_c w_c A_c)."""
    heat = sum(w * a for w, a in zip(weights, maps, strict=True)).clamp(min=0)
    large = interpolate(to_range(heat)[None, None], size=(side, side), mode="bilinear")
    return to_range(large[0, 0])


def features(network, x):
    with torch.no_grad():
        return network.model.last(torch.relu(network.model.first(x)))[0]


@pytest.mark.parametrize("target", [0, 1, 2])
def test_grad_cam_is_its_equation(tiny, pixels, target):
    """The score is linear in the map: y = b + sum_c w_c mean(A_c), so dy/dA_c = w_c / (H W)."""
    x = tiny.normalise(pixels[:1])
    weights = tiny.model.head.weight[target].detach() / 16
    expected = as_picture(weights, features(tiny, x))
    found = activation_map(tiny, x, LAYER, target, "gradcam")
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_ablation_cam_sets_channels_to_zero(tiny, pixels):
    """w_c = (y - y_c) / y with y_c the score without channel c; the map has negative values."""
    x = tiny.normalise(pixels[:1])
    maps = features(tiny, x)
    assert maps.min() < 0
    head = tiny.model.head
    with torch.no_grad():
        y = head(maps.mean((1, 2)))[1]
        without = []
        for c in range(6):
            kept = maps.clone()
            kept[c] = 0
            without.append(head(kept.mean((1, 2)))[1])
    expected = as_picture([(y - other) / y for other in without], maps)
    found = activation_map(tiny, x, LAYER, 1, "ablationcam")
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


class ChannelsLast(nn.Module):
    """The same network, whose map is (N, H, W, C)."""

    def __init__(self, plain):
        super().__init__()
        self.plain, self.turn = plain, Turn()

    def forward(self, x):
        plain = self.plain
        return plain.head(self.turn(plain.last(torch.relu(plain.first(x)))).mean((1, 2)))


class Turn(nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1)


@pytest.mark.parametrize("method", ["gradcam", "ablationcam", "eigencam", "layercam"])
def test_a_map_with_its_channels_last_gives_the_same(tiny, network, pixels, method):
    x = tiny.normalise(pixels[:1])
    turned = network(ChannelsLast(tiny.model))
    layer = FeatureMap("turn", 6, 4, 4, "NHWC")
    expected = activation_map(tiny, x, LAYER, 2, method)
    torch.testing.assert_close(activation_map(turned, x, layer, 2, method), expected)


class InPlace(nn.Module):
    """A network that changes its last map in place before it reads it, as DenseNet does."""

    def __init__(self, plain):
        super().__init__()
        self.first, self.last, self.head = plain.first, plain.last, plain.head

    def forward(self, x):
        maps = self.last(torch.relu(self.first(x)))
        return self.head(torch.relu_(maps).mean((2, 3)))


def test_a_later_operation_in_place_leaves_the_map_alone(tiny, network, pixels):
    x = tiny.normalise(pixels[:1])
    maps = features(tiny, x)
    weights = tiny.model.head.weight[0].detach()[:, None, None] * (maps > 0) / 16
    expected = as_picture(weights.mean((1, 2)), maps)
    found = activation_map(network(InPlace(tiny.model)), x, LAYER, 0)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", list_methods())
def test_every_method_gives_a_map_and_leaves_the_network_as_it_was(network, method):
    torch.manual_seed(0)
    model = create_model("resnet8").eval()
    insert(model, "se", start="paper")
    net = network(model, 32, classes=())
    x = torch.randn(1, 3, 32, 32)
    layer = last_maps(model, x, 1)[0]
    modules, state = list(model.named_modules()), model.state_dict()
    hooks = [len(m._forward_hooks) for _, m in modules]
    before = model(x)
    found = activation_map(net, x, layer, 3, method)
    assert found.shape == (32, 32)
    assert found.min() >= 0 and found.max() <= 1 + 1e-6
    assert list(model.named_modules()) == modules
    assert [len(m._forward_hooks) for _, m in modules] == hooks
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(model(x), before)
    assert model.state_dict().keys() == state.keys()


@pytest.mark.parametrize(
    ("name", "px"),
    [
        ("convnextv2_atto", 64),
        ("selnext_atto", 32),
        ("torchvision/densenet121", 64),
        ("torchvision/mobilenet_v3_small", 64),
        ("torchvision/swin_t", 64),
        ("mobilevit_xs", 64),
        ("edgenext_xx_small", 64),
    ],
)
def test_a_strip_of_every_kind_of_network(network, name, px):
    torch.manual_seed(0)
    net = network(create_model(name).eval(), px, classes=())
    x = torch.randn(1, 3, px, px)
    for layer in last_maps(net.model, x, 3):
        for method in ("gradcam", "eigencam"):
            assert activation_map(net, x, layer, 0, method).shape == (px, px)


def test_finer_cam_is_not_grad_cam(tiny, pixels):
    x = tiny.normalise(pixels[:1])
    plain, finer = (activation_map(tiny, x, LAYER, 1, m) for m in ("gradcam", "finercam"))
    assert not torch.allclose(plain, finer, atol=1e-3)


def test_the_answer_is_the_softmax(tiny, pixels):
    x = tiny.normalise(pixels[:1])
    scores = tiny.model(x)[0].tolist()
    total = sum(torch.tensor(scores).exp())
    answer = ask(tiny, x, 2)
    assert answer.predicted == scores.index(max(scores))
    assert answer.probability == pytest.approx(float(torch.tensor(max(scores)).exp() / total))
    assert answer.target_probability == pytest.approx(float(torch.tensor(scores[2]).exp() / total))
    assert ask(tiny, x).target == answer.predicted


@pytest.mark.parametrize("target", [3, -1])
def test_a_class_out_of_range(tiny, pixels, target):
    with pytest.raises(InputError, match=f"class {target} is not one of net's 3; give 0 to 2"):
        ask(tiny, tiny.normalise(pixels[:1]), target)


def test_an_unknown_method_and_one_that_cannot_take_the_network(tiny, network, pixels):
    x = tiny.normalise(pixels[:1])
    with pytest.raises(InputError, match="unknown CAM method 'gradcan'; did you mean 'gradcam'"):
        activation_map(tiny, x, LAYER, 0, "gradcan")
    turned = network(ChannelsLast(tiny.model), label="turned")
    with pytest.raises(InputError, match=r"shapleycam cannot take turned at turn .*; try gradcam"):
        activation_map(turned, x, FeatureMap("turn", 6, 4, 4, "NHWC"), 0, "shapleycam")


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    with pytest.raises(InputError, match=r"pip install 'convgate\[cam\]'"):
        list_methods()
