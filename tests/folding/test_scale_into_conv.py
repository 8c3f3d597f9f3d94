"""The scale on the next convolution's weights."""

import pytest
import torch
from torch import nn

from convgate.errors import InputError
from convgate.folding import fold
from convgate.folding.scale_into_conv import IDENTITY, scale_input, scaled_mix
from convgate.gates import CA, GCT, SE, SRM

X = torch.randn(2, 16, 5, 6, dtype=torch.float64)


def net(gate, *after):
    return nn.Sequential(nn.Conv2d(16, 16, 3, groups=16), nn.Hardswish(), gate, *after)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("gate", [SE(16, reduction=2), SRM(16), GCT(16)])
def test_equal_for_every_gate_of_whole_channels(gate, bias, check, where):
    _, report = check(net(gate, nn.Conv2d(16, 8, 1, bias=bias)), X, scale="weights")
    assert where(report, IDENTITY) == ["3"]


def test_both_sides_are_one_function():
    conv, s = nn.Conv2d(16, 8, 1), torch.randn(2, 16, 1, 1)
    for form in (scaled_mix, scale_input):
        torch.testing.assert_close(form(X, s, conv.weight, conv.bias), conv(s * X))


@pytest.mark.parametrize(
    "after",
    [
        [nn.ReLU(), nn.Conv2d(16, 8, 1)],
        [nn.Conv2d(16, 8, 3)],
        [nn.Conv2d(16, 16, 1, groups=2)],
        [nn.BatchNorm2d(16), nn.Conv2d(16, 8, 1)],
    ],
)
def test_not_over_anything_else(after, check, where):
    _, report = check(net(SE(16, reduction=2), *after), X, scale="weights")
    assert where(report, IDENTITY) == []


def test_not_for_scales_of_rows_and_columns(check, where):
    _, report = check(net(CA(16), nn.Conv2d(16, 8, 1)), X, scale="weights")
    assert where(report, IDENTITY) == []


def test_by_default_the_input_is_scaled(check, where):
    _, report = check(net(SE(16, reduction=2), nn.Conv2d(16, 8, 1)), X)
    assert where(report, IDENTITY) == []


def test_measured_takes_the_faster_side(check, where, monkeypatch):
    from convgate.folding import scale_into_conv

    for faster, folds in ((scaled_mix, ["3"]), (scale_input, [])):
        monkeypatch.setattr(
            scale_into_conv, "_seconds", lambda form, *_, own=faster: 1.0 if form is own else 2.0
        )
        gated = net(SE(16, reduction=2), nn.Conv2d(16, 8, 1))
        _, report = check(gated, X, scale="measured")
        assert where(report, IDENTITY) == folds


def test_measured_on_this_device(check):
    check(net(SE(16, reduction=2), nn.Conv2d(16, 8, 1)), X, scale="measured")


def test_an_unknown_side_is_refused():
    with pytest.raises(InputError, match="did you mean 'weights'"):
        fold(nn.Conv2d(3, 3, 1), scale="weight")
