"""CSPDarknet against a plain composition of its steps."""

import pytest
import timm
import torch
import torch.nn.functional as F

from convgate.models.csp_darknet import CSPDarknet, CSPLayer, PooledPyramid


def norm(w, at, x):
    """Evaluation mode; eps is 1e-3 and not torch's 1e-5."""
    mean, var, gain, shift = (
        w[f"{at}.norm.{leaf}"][:, None, None]
        for leaf in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-3).sqrt() * gain + shift


def unit(plain, w, at, x, stride=1):
    y = norm(w, at, plain.convolve(w, f"{at}.conv", x, stride))
    return y / (1 + (-y).exp())


def separable(plain, w, at, x, stride=1):
    return unit(plain, w, f"{at}.pointwise", unit(plain, w, f"{at}.depthwise", x, stride))


def layer(plain, w, at, x, depth, shortcut):
    y = unit(plain, w, f"{at}.through", x)
    for i in range(depth):
        z = separable(
            plain, w, f"{at}.blocks.{i}.mix", unit(plain, w, f"{at}.blocks.{i}.squeeze", y)
        )
        y = y + z if shortcut else z
    return unit(plain, w, f"{at}.merge", torch.cat([y, unit(plain, w, f"{at}.past", x)], 1))


@pytest.mark.parametrize("shortcut", [True, False])
def test_layer(plain, shortcut):
    torch.manual_seed(0)
    module = plain.randomise(CSPLayer(6, 8, 2, shortcut=shortcut))
    w = {f"it.{key}": value for key, value in module.state_dict().items()}
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    plain.close(module(x), layer(plain, w, "it", x, 2, shortcut))


def test_pooled_pyramid(plain):
    torch.manual_seed(0)
    module = plain.randomise(PooledPyramid(6))
    w = module.state_dict()
    x = torch.randn(1, 6, 9, 8, dtype=torch.float64)
    y = unit(plain, w, "squeeze", x)
    maxima = [
        torch.stack(
            [
                y[:, :, max(i - r, 0) : i + r + 1, max(j - r, 0) : j + r + 1].amax((2, 3))
                for i in range(9)
                for j in range(8)
            ],
            2,
        ).view_as(y)
        for r in (2, 4, 6)
    ]
    plain.close(module(x), unit(plain, w, "merge", torch.cat([y, *maxima], 1)))


def test_network(plain):
    """Depths 1, 3, 3, 1; the last stage pools first and has no shortcuts."""
    torch.manual_seed(0)
    net = plain.randomise(CSPDarknet(num_classes=5, width=4))
    w = net.state_dict()
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    corners = [x[:, :, i::2, j::2] for i, j in ((0, 0), (1, 0), (0, 1), (1, 1))]
    y = unit(plain, w, "stem", torch.cat(corners, 1))
    plain.close(net.forward_stem(x), y)
    for i, depth in enumerate((1, 3, 3, 1)):
        y = separable(plain, w, f"stages.{i}.downsample", y, 2)
        if i == 3:
            at = "stages.3.pools"
            y = unit(plain, w, f"{at}.squeeze", y)
            y = torch.cat([y, *(F.max_pool2d(y, k, 1, k // 2) for k in (5, 9, 13))], 1)
            y = unit(plain, w, f"{at}.merge", y)
        y = layer(plain, w, f"stages.{i}.csp", y, depth, i < 3)
    plain.close(net(x), y.mean((2, 3)) @ w["fc.weight"].T + w["fc.bias"])


@pytest.mark.parametrize("size", [(32, 32), (33, 50), (1, 1)])
def test_sizes(size):
    net = CSPDarknet(in_chans=1, num_classes=5, width=4).eval()
    assert net(torch.randn(1, 1, *size)).shape == (1, 5)


def test_pixels_run_to_255():
    with torch.device("meta"):
        net = timm.create_model("csp_darknet_nano")
    assert net.default_cfg["std"] == (1 / 255,) * 3
    assert net.default_cfg["mean"] == (0.0,) * 3
    assert [info["num_chs"] for info in net.feature_info] == [32, 64, 128, 256]
    assert [info["reduction"] for info in net.feature_info] == [4, 8, 16, 32]
