"""ShuffleNetV2 for CIFAR against a plain composition."""

import pytest
import timm
import torch
from torch import nn

from convgate.models import ShuffleNetCifar
from convgate.models.shufflenet_cifar import shuffle_unit


def branch(plain, w, x, kinds, stride):
    """Convolution, norm and, after the 1x1 ones, activation; the depthwise one has the stride."""
    at = 0
    for kind in kinds:
        x = plain.batch_norm(
            w, str(at + 1), plain.convolve(w, str(at), x, stride if kind == "dw" else 1)
        )
        x = x.clamp(min=0) if kind == "pw" else x
        at += 3 if kind == "pw" else 2
    return x


def plain_unit(plain, w, x, stride):
    half = x.shape[1] // 2
    near, far = (x, x) if stride > 1 else (x[:, :half], x[:, half:])
    if stride > 1:
        near = branch(plain, plain.under(w, "branch1"), near, ("dw", "pw"), stride)
    far = branch(plain, plain.under(w, "branch2"), far, ("pw", "dw", "pw"), stride)
    y = torch.empty(len(x), 2 * near.shape[1], *near.shape[2:], dtype=x.dtype)
    y[:, 0::2], y[:, 1::2] = near, far
    return y


@pytest.mark.parametrize(("width_in", "stride"), [(6, 2), (12, 1)])
def test_unit_is_the_plain_composition(plain, width_in, stride):
    torch.manual_seed(0)
    unit = plain.randomise(shuffle_unit(width_in, 12, stride))
    x = torch.randn(2, width_in, 7, 8, dtype=torch.float64)
    plain.close(unit(x), plain_unit(plain, unit.state_dict(), x, stride))


def test_convolutions_have_biases_and_strided_units_a_wide_first_one():
    with torch.device("meta"):
        net = timm.create_model("shufflenet_v2_cifar")
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert all(conv.bias is not None for conv in convs)
    first = [getattr(net, f"stage{i}")[0].branch2[0].out_channels for i in (2, 3, 4)]
    assert first == [24, 116, 232]


def test_the_stem_keeps_the_map():
    net = ShuffleNetCifar(depths=(1, 1, 1), widths=(8, 16, 32)).eval()
    features = net.forward_intermediates(torch.randn(1, 3, 32, 32), intermediates_only=True)
    assert [tuple(f.shape[1:]) for f in features] == [
        (8, 16, 16),
        (16, 8, 8),
        (32, 4, 4),
        (1024, 4, 4),
    ]


@pytest.mark.parametrize("size", [(1, 1), (33, 20)])
def test_sizes(size):
    net = ShuffleNetCifar(in_chans=1, depths=(1, 1, 1), widths=(8, 16, 32)).eval()
    assert net(torch.randn(1, 1, *size)).shape == (1, 10)
