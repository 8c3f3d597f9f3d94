"""Operations and bytes of single operators against hand formulas."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from convgate.measure import count

F32 = 4  # bytes


class Function(nn.Module):
    """A module around one function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def cost(layer, *shape, **kind):
    model = layer if isinstance(layer, nn.Module) else Function(layer)
    return count(model, torch.randn(shape, **kind))


def test_convolution():
    # (N, 3, 9, 9) -> (N, 8, 5, 5): each output needs 3 * 3 * 3 multiply-adds, the bias none.
    found = cost(nn.Conv2d(3, 8, 3, stride=2, padding=1), 2, 3, 9, 9)
    assert found.macs == 2 * 8 * 5 * 5 * 27
    assert found.params == 8 * 27 + 8
    assert found.bytes_moved == F32 * (2 * 3 * 81 + 8 * 27 + 8 + 2 * 8 * 25)
    assert (found.elementwise_ops, found.uncounted) == (0, ())


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=False), (1, 8, 6, 6), 8 * 36 * 9 * 2),
        (nn.Conv2d(8, 8, 7, padding=3, groups=8), (1, 8, 6, 6), 8 * 36 * 49),
        (nn.Conv2d(4, 4, 3, padding=2, dilation=2), (1, 4, 6, 6), 4 * 36 * 9 * 4),
        (nn.Conv1d(6, 6, 5, padding=2, groups=6), (3, 6, 10), 3 * 6 * 10 * 5),
        (nn.Conv1d(1, 1, 3, padding=1, bias=False), (2, 1, 16), 2 * 16 * 3),
        (nn.ConvTranspose2d(4, 2, 2, stride=2), (1, 4, 5, 5), 25 * 4 * 2 * 4),
        (nn.Linear(5, 7), (3, 5), 3 * 5 * 7),
        (nn.Linear(5, 7, bias=False), (2, 3, 5), 2 * 3 * 5 * 7),
        (lambda x: x @ x.transpose(1, 2), (2, 4, 8), 2 * 4 * 4 * 8),
        (lambda x: torch.einsum("bik,bjk->bij", x, x), (2, 4, 8), 2 * 4 * 4 * 8),
        (lambda x: x @ x[0], (4, 4), 16),
    ],
)
def test_macs_by_hand(layer, shape, macs):
    found = cost(layer, *shape)
    assert (found.macs, found.uncounted) == (macs, ())


@pytest.mark.parametrize(
    ("layer", "operations"),
    [
        (nn.ReLU(), 288),
        (nn.ReLU(inplace=True), 288),
        (nn.Hardswish(inplace=True), 288),
        (nn.Hardsigmoid(), 288),
        (nn.GELU(), 288),
        (nn.SiLU(), 288),
        (nn.PReLU(8), 288),
        (lambda x: x * x.mean((2, 3), keepdim=True), 288 + 288),
        (lambda x: x.amax(1), 288),
        (lambda x: x.var(1), 2 * 288),
        (nn.AdaptiveAvgPool2d(1), 288),
        (nn.AdaptiveAvgPool2d(2), 288),
        (nn.MaxPool2d(3, 2, padding=1), 8 * 9 * 9),
        (nn.AvgPool2d(2), 8 * 9 * 4),
        (lambda x: functional.avg_pool2d(x, [2]), 8 * 9 * 4),
        (nn.MaxPool2d((3, 2)), 8 * 2 * 3 * 6),
        (nn.BatchNorm2d(8), 288),
        (nn.GroupNorm(2, 8), 4 * 288),
        (nn.LayerNorm((8, 6, 6)), 4 * 288),
        (nn.LayerNorm((8, 6, 6), elementwise_affine=False), 3 * 288),
        (nn.Softmax(1), 4 * 288),
        (nn.Upsample(scale_factor=2, mode="bilinear"), 4 * 4 * 288),
        (nn.Upsample(scale_factor=2), 0),
        (nn.Flatten(), 0),
        (nn.Dropout(0.5), 0),
        (lambda x: x.permute(0, 2, 3, 1).contiguous(), 0),
    ],
)
def test_elementwise_by_hand(layer, operations):
    found = cost(layer, 1, 8, 6, 6)  # 288 numbers
    assert (found.elementwise_ops, found.macs, found.uncounted) == (operations, 0, ())


@pytest.mark.parametrize(
    ("layer", "numbers"),
    [
        (nn.ReLU(), 2 * 288),
        (nn.ReLU(inplace=True), 2 * 288),
        (lambda x: x * x, 2 * 288),  # one input, read once
        (lambda x: x * x.mean((2, 3), keepdim=True), (288 + 8) + (288 + 8 + 288)),
        (lambda x: x.mean((2, 3)).view(1, 8, 1, 1).expand_as(x) + x, 288 + 8 + 8 + 2 * 288),
        (nn.BatchNorm2d(8), 2 * 288 + 4 * 8),
        (nn.MaxPool2d(2), 288 + 72),  # the indices of the maxima are for training
        (nn.Flatten(), 0),
        (lambda x: x.transpose(1, 2)[:, 1:], 0),
        (lambda x: x.permute(0, 2, 3, 1).contiguous(), 2 * 288),
        (lambda x: torch.cat([x, x[:, :4]], 1), 288 + 144 + 432),
        (lambda x: torch.zeros_like(x).copy_(x), 288 + 2 * 288),
    ],
)
def test_bytes_by_hand(layer, numbers):
    assert cost(layer, 1, 8, 6, 6).bytes_moved == F32 * numbers


def test_attention_counts_two_products_and_a_softmax():
    def attend(x):
        return functional.scaled_dot_product_attention(x, x, x)

    found = cost(attend, 2, 3, 5, 8)
    assert found.macs == 2 * 3 * (5 * 5 * 8) * 2
    assert found.elementwise_ops == 4 * 2 * 3 * 5 * 5


def test_half_precision_moves_half_the_bytes_and_counts_the_same():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    full = cost(net, 1, 3, 8, 8)
    half = cost(net.bfloat16(), 1, 3, 8, 8, dtype=torch.bfloat16)
    assert 2 * half.bytes_moved == full.bytes_moved
    assert (half.macs, half.elementwise_ops) == (full.macs, full.elementwise_ops)


def test_unknown_operators_are_named():
    found = cost(lambda x: x.sort(1).values, 1, 8, 6, 6)
    assert found.uncounted == ("aten.sort",)
