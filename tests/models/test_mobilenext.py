"""MobileNeXt against its table of rows and a plain composition of its block."""

from collections import Counter

import pytest
import timm
import torch
from torch import nn

from convgate.models import MobileNeXt
from convgate.models.mobilenext import Sandglass


def plain_block(plain, w, x, kind, stride):
    """The steps of the paper's Figure 3 for each kind: where the ReLU6 is, and the stride."""
    w = plain.under(w, "branch")
    activated = {"both": (1, 3), "last": (2,), "none": (2,)}[kind]
    last = {"both": 4, "last": 3, "none": 2}[kind]
    for place in range(1, last + 1):
        step = stride if place == last else 1
        x = plain.batch_norm(w, f"bn{place}", plain.convolve(w, f"conv{place}", x, step))
        x = x.clamp(0, 6) if place in activated else x
    return x


@pytest.mark.parametrize(
    ("kind", "stride", "width", "identity"),
    [("both", 1, 12, True), ("both", 2, 8, False), ("last", 2, 8, False), ("none", 1, 8, False)],
)
def test_block_is_the_plain_composition(plain, kind, stride, width, identity):
    torch.manual_seed(0)
    block = Sandglass(12, width, 4, stride=stride, depthwise=kind, identity=identity)
    block = plain.randomise(block)
    x = torch.randn(2, 12, 7, 6, dtype=torch.float64) * 40  # into the ReLU6
    y = plain_block(plain, block.state_dict(), x, kind, stride)
    plain.close(block(x), y + x if identity else y)


def kind_of(block):
    convs = [m for m in block.branch if isinstance(m, nn.Conv2d)]
    return tuple("dw" if conv.groups > 1 else "pw" for conv in convs), block.identity


def test_rows():
    """Where the depthwise convolutions and the shortcuts are, and how wide every block is."""
    with torch.device("meta"):
        net = timm.create_model("mobilenext")
    full, last, bare = ("dw", "pw", "pw", "dw"), ("pw", "pw", "dw"), ("pw", "pw")
    first = [full, full, last, last, bare, last, bare, full]
    rest = [0, 0, 2, 2, 3, 3, 2, 0]
    for stage, kind, count in zip(net.stages, first, rest, strict=True):
        assert [kind_of(block) for block in stage] == [(kind, False)] + [(full, True)] * count
    widths = [96, 144, 192, 288, 384, 576, 960, 1280]
    assert [info["num_chs"] for info in net.feature_info] == widths
    assert [info["reduction"] for info in net.feature_info] == [4, 4, 8, 16, 16, 32, 32, 32]


def test_hidden_widths():
    """A sixth of the input, but a sixth of the output at least, in steps of 16."""
    with torch.device("meta"):
        net = timm.create_model("mobilenext")

    def narrow(block):
        return min(m.out_channels for m in block.branch if isinstance(m, nn.Conv2d))

    found = [[narrow(block) for block in stage] for stage in net.stages]
    assert [stage[0] for stage in found] == [16, 32, 32, 48, 64, 96, 160, 208]
    assert [set(stage[1:]) for stage in found[2:7]] == [{32}, {48}, {64}, {96}, {160}]


@pytest.mark.parametrize(
    ("width_in", "width", "hidden"),
    [
        (96, 144, 32),  # 16 is below 24; 24 lies between 16 and 32, and goes up
        (16, 100, 16),  # 17 -> 16, which is 0.94 of it
        (16, 108, 32),  # 18 -> 16, which is 0.89 of it
        (16, 138, 32),  # 23 -> 16, which is 0.70 of it
        (16, 300, 48),  # 50 -> 48
        (600, 300, 100),  # a sixth of the input is enough
        (12, 24, 16),  # never below 16
    ],
)
def test_hidden_widths_lose_less_than_a_tenth(width_in, width, hidden):
    """MobileNets' rule with steps of 16, as the authors' code rounds."""
    net = MobileNeXt(rows=((2, width_in, 1, 2), (6, width, 1, 2)))
    assert net.stages[1][0].branch.conv1.out_channels == hidden


def test_the_32_px_form_is_the_same_network():
    with torch.device("meta"):
        small = timm.create_model("mobilenext_cifar")
        large = timm.create_model("mobilenext", num_classes=10)
    assert {k: v.shape for k, v in small.state_dict().items()} == {
        k: v.shape for k, v in large.state_dict().items()
    }
    assert small.default_cfg["input_size"] == (3, 32, 32)
    assert Counter(type(m).__name__ for m in small.modules()) == Counter(
        type(m).__name__ for m in large.modules()
    )


@pytest.mark.parametrize("size", [(32, 32), (33, 50), (1, 1)])
def test_sizes(size):
    rows = ((2, 16, 1, 2), (6, 24, 2, 2), (6, 32, 2, 1))
    net = MobileNeXt(in_chans=1, num_classes=5, rows=rows).eval()
    assert net(torch.randn(1, 1, *size)).shape == (1, 5)


def test_dropout_before_the_classifier():
    with torch.device("meta"):
        assert timm.create_model("mobilenext").drop.p == 0.2
