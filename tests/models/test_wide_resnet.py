"""WRN against a plain composition."""

import pytest
import timm
import torch
from torch import nn

from convgate.errors import InputError
from convgate.models import WideResNet
from convgate.models.wide_resnet import WideBlock


def plain_block(plain, w, x, stride):
    y = plain.convolve(w, "conv1", plain.batch_norm(w, "norm1", x).clamp(min=0))
    y = plain.convolve(w, "conv2", plain.batch_norm(w, "norm2", y).clamp(min=0), stride)
    return y + (plain.convolve(w, "shortcut", x, stride) if "shortcut.weight" in w else x)


@pytest.mark.parametrize(("width", "stride"), [(6, 1), (8, 1), (8, 2)])
def test_block_of_the_paper(plain, width, stride):
    """The stride comes first, and a projection starts behind the activation."""
    torch.manual_seed(0)
    block = plain.randomise(WideBlock(6, width, stride, "paper"))
    x = torch.randn(2, 6, 7, 8, dtype=torch.float64)
    w = block.state_dict()
    assert not any(name.endswith("bias") for name in w if "conv" in name or "shortcut" in name)
    active = plain.batch_norm(w, "norm1", x).clamp(min=0)
    y = plain.convolve(w, "conv1", active, stride)
    y = plain.convolve(w, "conv2", plain.batch_norm(w, "norm2", y).clamp(min=0))
    plain.close(block(x), y + (x if width == 6 else plain.convolve(w, "shortcut", active, stride)))


def test_an_unknown_form_is_refused():
    with pytest.raises(InputError, match="unknown form 'papr'; did you mean 'paper'"):
        WideResNet(depth=1, widen=1, form="papr")


@pytest.mark.parametrize(("width", "stride"), [(6, 1), (8, 1), (8, 2), (6, 2)])
def test_block_is_the_plain_composition(plain, width, stride):
    torch.manual_seed(0)
    block = plain.randomise(WideBlock(6, width, stride))
    x = torch.randn(2, 6, 7, 8, dtype=torch.float64)
    w = block.state_dict()
    assert ("shortcut.weight" in w) == (width != 6 or stride == 2)
    plain.close(block(x), plain_block(plain, w, x, stride))


def test_network_is_the_plain_composition(plain):
    torch.manual_seed(0)
    net = plain.randomise(WideResNet(num_classes=4, depth=2, widen=1))
    w = net.state_dict()
    image = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    x = plain.convolve(w, "stem", image)
    for layer in (1, 2, 3):
        for block in (0, 1):
            stride = 2 if layer > 1 and block == 0 else 1
            x = plain_block(plain, plain.under(w, f"layer{layer}.{block}"), x, stride)
    x = plain.batch_norm(w, "norm", x).clamp(min=0).mean((2, 3))
    plain.close(net(image), x @ w["fc.weight"].T + w["fc.bias"])


def test_every_convolution_has_a_bias():
    with torch.device("meta"):
        net = timm.create_model("wrn28_10")
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) == 1 + 12 * 2 + 3
    assert all(conv.bias is not None for conv in convs)


@pytest.mark.parametrize(
    ("name", "layers", "widen"), [("wrn16_8", 16, 8), ("wrn28_10", 28, 10), ("wrn40_4", 40, 4)]
)
def test_names_count_layers_and_widths(name, layers, widen):
    """6n + 4 layers: the stem, 6n convolutions in blocks, a shortcut in each stage."""
    with torch.device("meta"):
        net = timm.create_model(name)
    convs = [path for path, m in net.named_modules() if isinstance(m, nn.Conv2d)]
    in_blocks = [path for path in convs if "conv" in path]
    assert len(in_blocks) == layers - 4 and len(convs) == layers - 4 + 1 + 3
    assert [info["num_chs"] for info in net.feature_info] == [w * widen for w in (16, 32, 64)]


def test_dropout_is_between_the_convolutions():
    block = WideBlock(6, 6, 1, dropout=0.5)
    names = [name for name, _ in block.named_children()]
    assert names.index("conv1") < names.index("drop") < names.index("conv2")
    assert WideResNet(depth=1, widen=1, block_drop_rate=0.5).layer3[0].drop.p == 0.5


@pytest.mark.parametrize("size", [(1, 1), (32, 32), (33, 20)])
def test_sizes(size):
    net = WideResNet(in_chans=1, depth=1, widen=1).eval()
    assert net(torch.randn(1, 1, *size)).shape == (1, 10)
