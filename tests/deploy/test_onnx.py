"""The pieces of a conversion that torch lacks, and what is said where it fails."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from convgate.deploy.onnx import OPSET, adaptive_means, to_onnx
from convgate.errors import InputError


@pytest.mark.parametrize("size", [(7, 7), (1, 3), (5, 2)])
@pytest.mark.parametrize("pixels", [(7, 7), (8, 11), (3, 40)])
def test_adaptive_means_are_torchs_adaptive_pooling(size, pixels):
    x = torch.randn(2, 3, *pixels, dtype=torch.float64)
    torch.testing.assert_close(adaptive_means(x, size), functional.adaptive_avg_pool2d(x, size))


def test_the_graph_has_the_names_the_opset_and_the_free_sizes():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    graph = to_onnx("net", model, torch.randn(2, 3, 32, 32), fixed_size=False, fixed_batch=False)
    assert {entry.version for entry in graph.opset_import if not entry.domain} == {OPSET}
    (image,), (logits,) = graph.graph.input, graph.graph.output
    assert (image.name, logits.name) == ("images", "logits")
    sides = [dim.dim_value for dim in image.type.tensor_type.shape.dim]
    assert sides == [0, 3, 0, 0]  # 0: a name, not a number
    fixed = to_onnx("net", model, torch.randn(2, 3, 32, 32), fixed_size=True, fixed_batch=False)
    sides = [dim.dim_value for dim in fixed.graph.input[0].type.tensor_type.shape.dim]
    assert sides == [0, 3, 32, 32]


class OneSize(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)) if x.shape[2] == 32 else x.amax((2, 3))


class NoOperator(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x).mean((2, 3))


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (OneSize(), "net takes images of one size only; export it with --fixed-size"),
        (NoOperator(), r"net cannot be exported: operator (aten|prims)\.\w*bessel_j0$"),
    ],
)
def test_a_network_that_cannot_be_exported_says_which_operator(model, sentence):
    with pytest.raises(InputError, match=sentence):
        to_onnx("net", model, torch.randn(2, 3, 32, 32), fixed_size=False, fixed_batch=False)
