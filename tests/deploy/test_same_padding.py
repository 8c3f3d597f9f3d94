"""TensorFlow's "same" padding in exported networks, against timm's own layers."""

import pytest
import torch
from timm.layers import AvgPool2dSame, Conv2dSame
from timm.layers.pool2d_same import MaxPool2dSame
from torch import nn

from convgate.deploy import export
from convgate.deploy.onnx import to_onnx
from convgate.deploy.same_padding import PADDED, with_plain_padding
from convgate.insertion import insert

BRACKETS = str.maketrans("", "", "()")
SIZES = ((7, 8), (9, 12), (10, 5), (16, 11))
LAYERS = {
    "conv": Conv2dSame(2, 4, 3, stride=2),
    "grouped": Conv2dSame(4, 4, 5, stride=2, groups=4, bias=False),
    "dilated": Conv2dSame(2, 3, 3, stride=3, dilation=2),
    "uneven": Conv2dSame(2, 3, (3, 5), stride=(2, 1)),
    "max": MaxPool2dSame(3, 2),
    "average": AvgPool2dSame(3, 2),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", LAYERS)
def test_a_plain_layer_behind_its_padding_computes_the_same(name, size):
    layer = LAYERS[name]
    model = nn.Sequential(layer)
    plain = with_plain_padding(model)
    assert type(model[0]) is type(layer) and type(plain[0]) is PADDED[type(layer)]
    x = torch.randn(2, 4 if name == "grouped" else 2, *size)
    with torch.no_grad():
        assert torch.equal(plain(x), model(x))


def test_a_stride_beyond_the_kernel_keeps_its_layer():
    model = nn.Sequential(Conv2dSame(2, 4, 1, stride=2))
    assert type(with_plain_padding(model)[0]) is Conv2dSame


def test_a_gate_on_such_a_layer_stays():
    model = nn.Sequential(Conv2dSame(2, 4, 3, stride=2))
    x = torch.randn(2, 2, 9, 9)
    insert(model, "se", at="0", example_input=x, reduction=1)
    plain = with_plain_padding(model.eval())
    with torch.no_grad():
        assert torch.equal(plain(x), model(x))
    assert plain.state_dict().keys() == model.state_dict().keys()


def test_a_network_without_such_padding_is_not_copied():
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1))
    assert with_plain_padding(model) is model


def test_sizes_of_a_deep_network_stay_short():
    model = nn.Sequential(*(Conv2dSame(2, 2, 3, stride=2) for _ in range(5))).eval()
    graph = to_onnx("deep", model, torch.randn(2, 2, 64, 64), fixed_size=False, fixed_batch=False)
    taken, given = (
        end[0].type.tensor_type.shape.dim for end in (graph.graph.input, graph.graph.output)
    )
    expected = taken[2].dim_param
    for _ in range(5):
        expected = f"{expected} + 1//2"
    assert given[2].dim_param.translate(BRACKETS) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("form", "suffix"), [("onnx", ".onnx"), ("openvino", ".xml")])
def test_efficientnet_lite_is_exported_for_every_size(form, suffix, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip(form)
    done = export("tf_efficientnet_lite0", form, tmp_path / f"net{suffix}")
    assert not done.card.fixed_size and done.difference < 1e-4  # at two other sizes, too
