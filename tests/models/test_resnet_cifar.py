"""The CIFAR ResNets against published counts and a plain composition."""

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from convgate.errors import InputError
from convgate.models import ResNetCifar
from convgate.models.resnet_cifar import PadShortcut


def parameters(name, **options):
    with torch.device("meta"):
        model = timm.create_model(name, **options)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("resnet56", {}, 853_018),
        ("resnet56", {"num_classes": 100}, 858_868),
        ("resnet20", {}, 269_722),
        # stem, three blocks, classifier: 3x3 weights and two numbers a channel of batch norm
        ("resnet8", {}, 464 + 4672 + 13952 + 55552 + 650),
    ],
)
def test_parameters(name, options, expected):
    assert parameters(name, **options) == expected


def test_parameters_with_convolved_shortcuts():
    assert round(parameters("resnet56", num_classes=100, shortcut="conv") / 1e6, 4) == 0.8616
    extra = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert parameters("resnet20", shortcut="conv") == 269_722 + extra


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 4), (7, 8)])
def test_pad_shortcut_takes_every_second_pixel(height, width):
    x = torch.randn(2, 4, height, width)
    y = PadShortcut(2)(x)
    assert y.shape == (2, 8, (height + 1) // 2, (width + 1) // 2)
    for c in range(8):
        for i in range(y.shape[2]):
            for j in range(y.shape[3]):
                kept = x[:, c - 2, 2 * i, 2 * j] if 2 <= c < 6 else torch.zeros(2)
                assert torch.equal(y[:, c, i, j], kept)


def batch_norm(w, at, x):
    """Evaluation mode, with the stored statistics."""
    mean, var, gain, shift = (
        w[f"{at}.{leaf}"][:, None, None]
        for leaf in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * gain + shift


def plain_forward(w, x, depth, shortcut):
    x = batch_norm(w, "bn1", F.conv2d(x, w["conv1.weight"], padding=1)).clamp(min=0)
    for layer in (1, 2, 3):
        for block in range(depth):
            at = f"layer{layer}.{block}"
            stride = 2 if layer > 1 and block == 0 else 1
            y = F.conv2d(x, w[f"{at}.conv1.weight"], stride=stride, padding=1)
            y = batch_norm(w, f"{at}.bn1", y).clamp(min=0)
            y = batch_norm(w, f"{at}.bn2", F.conv2d(y, w[f"{at}.conv2.weight"], padding=1))
            if stride == 2 and shortcut == "conv":
                x = F.conv2d(x, w[f"{at}.downsample.0.weight"], stride=2)
                x = batch_norm(w, f"{at}.downsample.1", x)
            elif stride == 2:
                zeros = torch.zeros_like(x[:, ::2, ::2, ::2])
                x = torch.cat([zeros, x[:, :, ::2, ::2], zeros], 1)
            x = (x + y).clamp(min=0)
    return x.mean((2, 3)) @ w["fc.weight"].T + w["fc.bias"]


@pytest.mark.parametrize("shortcut", ["pad", "conv"])
def test_forward_is_the_plain_composition(shortcut):
    torch.manual_seed(0)
    model = ResNetCifar(num_classes=4, depth=2, shortcut=shortcut).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -1, 1)
    x = torch.randn(2, 3, 15, 16, dtype=torch.float64)
    expected = plain_forward(model.state_dict(), x, 2, shortcut)
    torch.testing.assert_close(model.eval()(x), expected, rtol=1e-10, atol=1e-12)


def test_every_activation_is_its_own_module():
    model = ResNetCifar(depth=2)
    activations = [name for name, m in model.named_modules() if isinstance(m, nn.ReLU)]
    assert len(activations) == 1 + 2 * 3 * 2
    block = [name for name, _ in model.layer2[0].named_children()]
    assert [n for n in block if n not in ("downsample", "drop_path")] == [
        "conv1",
        "bn1",
        "act1",
        "conv2",
        "bn2",
        "act2",
    ]


def test_convolutions_start_with_he_variance():
    torch.manual_seed(0)
    weight = ResNetCifar(depth=1).layer3[0].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("side", [8, 32, 33])
def test_sizes(side):
    model = ResNetCifar(in_chans=1, depth=1).eval()
    assert model(torch.randn(1, 1, side, side)).shape == (1, 10)


def test_unknown_shortcut_is_named():
    with pytest.raises(InputError, match="unknown shortcut 'convs'; did you mean 'conv'"):
        ResNetCifar(shortcut="convs")
