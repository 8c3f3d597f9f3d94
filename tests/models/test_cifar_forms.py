"""timm's networks with small stems: what is changed, and that timm's interface still holds."""

import pytest
import timm
import torch
from timm.models import group_parameters
from timm.models.densenet import DenseNet
from timm.models.resnet import Bottleneck, ResNet
from torch import nn

from convgate.models.cifar_forms import small_densenet, small_resnet

SMALL = {
    "resnet50_cifar": {"layers": (1, 1, 1, 1), "channels": (8, 16, 32, 64)},
    "resnext29_8x64d": {"layers": (1, 1, 1), "channels": (8, 16, 32)},
    "densenet121_cifar": {"block_config": (2, 2, 2, 2), "growth_rate": 8},
}


@pytest.fixture(params=list(SMALL))
def name(request):
    return request.param


@pytest.fixture
def build(name):
    return lambda **options: timm.create_model(name, **{**SMALL[name], **options})


def test_resnet_is_timms_after_another_stem(plain):
    torch.manual_seed(0)
    options = {"layers": (1, 2, 1, 1), "channels": (8, 16, 32, 64)}
    ours = plain.randomise(small_resnet(num_classes=5, **options))
    theirs = ResNet(Bottleneck, num_classes=5, **options).double().eval()
    weights = dict(ours.state_dict())
    stem = weights.pop("conv1.weight")
    assert theirs.load_state_dict(weights, strict=False).missing_keys == ["conv1.weight"]
    x = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    y = theirs.act1(theirs.bn1(nn.functional.conv2d(x, stem, padding=1)))
    for layer in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
        y = layer(y)
    plain.close(ours(x), theirs.forward_head(y))


def test_densenet_is_timms_after_another_stem(plain):
    torch.manual_seed(0)
    options = {"block_config": (2, 2, 2, 2), "growth_rate": 8}
    ours = plain.randomise(small_densenet(num_classes=5, **options))
    theirs = DenseNet(num_classes=5, **options).double().eval()
    weights = dict(ours.state_dict())
    stem = weights.pop("features.conv0.weight")
    theirs.load_state_dict(weights, strict=False)
    x = torch.randn(2, 3, 16, 17, dtype=torch.float64)
    y = nn.functional.conv2d(x, stem, padding=1)
    for layer in list(theirs.features)[3:]:
        y = layer(y)
    plain.close(ours(x), theirs.forward_head(y))


@pytest.mark.parametrize(
    ("name_", "groups", "width"),
    [("resnext29_16x32d", 16, 512), ("resnext29_8x64d", 8, 512), ("resnext29_16x64d", 16, 1024)],
)
def test_resnext29(name_, groups, width):
    with torch.device("meta"):
        net = timm.create_model(name_)
    layers = (net.layer1, net.layer2, net.layer3)
    assert [len(layer) for layer in layers] == [3, 3, 3]
    assert [layer[-1].conv3.out_channels for layer in layers] == [256, 512, 1024]
    assert [layer[-1].conv2.out_channels for layer in layers] == [width, 2 * width, 4 * width]
    assert {layer[0].conv2.groups for layer in layers} == {groups}
    assert {layer[0].conv1.groups for layer in layers} == {1}


@pytest.mark.parametrize("feature_cls", ["list", "hook"])
def test_features_have_the_sizes_that_are_noted(build, feature_cls):
    net = build(features_only=True, in_chans=1, feature_cls=feature_cls).eval()
    maps = net(torch.randn(1, 1, 32, 64))
    assert [m.shape[1] for m in maps] == net.feature_info.channels()
    assert [(32 // m.shape[2], 64 // m.shape[3]) for m in maps] == [
        (r, r) for r in net.feature_info.reduction()
    ]


def test_intermediates_and_pruning(build):
    """Each stage once, as noted; cut behind a stage, the network ends with it."""
    net = build().eval()
    x = torch.randn(1, 3, 32, 32)
    last, every = net.forward_intermediates(x)
    assert [m.shape[1] for m in every] == [info["num_chs"] for info in net.feature_info]
    assert torch.equal(last, net.forward_features(x))
    (only,) = net.forward_intermediates(x, indices=1, intermediates_only=True)
    assert torch.equal(only, every[-1])
    whole = net(x)
    assert net.prune_intermediate_layers(1, prune_head=False) == [len(every) - 1]
    assert torch.equal(net(x), whole)
    assert net.prune_intermediate_layers([1]) == [1]
    assert torch.equal(net.forward_features(x), every[1])


def test_interface(build, name):
    net = build().eval()
    x = torch.randn(2, 3, 32, 32)
    assert net(x).shape == (2, 10)
    assert torch.equal(net(x), net.forward_head(net.forward_features(x)))
    assert net.get_submodule(net.default_cfg["first_conv"]).kernel_size == (3, 3)
    assert net.get_submodule(net.default_cfg["classifier"]) is net.get_classifier()
    assert net.default_cfg["architecture"] == name
    net.reset_classifier(7)
    assert net(x).shape == (2, 7)
    groups = group_parameters(net, net.group_matcher())
    grouped = [parameter for names in groups.values() for parameter in names]
    assert sorted(grouped) == sorted(parameter for parameter, _ in net.named_parameters())


def test_gradients_and_checkpointing(build):
    torch.manual_seed(0)
    net = build().train()
    net.set_grad_checkpointing()
    net(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_residual_branches_start_alive():
    net = small_resnet(layers=(1, 1, 1, 1), channels=(8, 16, 32, 64))
    assert torch.equal(net.layer3[0].bn3.weight, torch.ones(128))


@pytest.mark.parametrize("size", [(8, 8), (33, 20)])
def test_sizes(build, size):
    assert build().eval()(torch.randn(1, 3, *size)).shape == (1, 10)
