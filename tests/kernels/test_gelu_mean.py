"""GELU with its mean: the reference against the error function, the kernel against it."""

import math

import pytest
import torch
from torch import nn

from convgate import kernels
from convgate.folding import fold, folded
from convgate.folding.gelu_mean import IDENTITY
from convgate.gates import CA, SE
from convgate.kernels.gelu_mean import gelu_mean, reference
from convgate.models.selnext_block import BlockOptions, SELNeXtBlock


def test_reference_is_the_equation():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    y, mean = reference(x)
    for n, c in ((0, 0), (1, 2)):
        plane = [v * (1 + math.erf(v / 2**0.5)) / 2 for v in x[n, c].flatten().tolist()]
        assert y[n, c].flatten().tolist() == pytest.approx(plane, abs=1e-12)
        assert mean[n, c].item() == pytest.approx(sum(plane) / 20, abs=1e-12)


def test_reference_has_its_gradient():
    x = torch.randn(2, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(reference, (x,))


def test_the_mean_of_half_precision_is_float32():
    assert reference(torch.randn(1, 2, 3, 3).bfloat16())[1].dtype == torch.float32


def test_kernel(case, agree):
    _, make = case
    agree(gelu_mean, reference, make())


def test_a_sequence_of_maps(device, agree):
    agree(gelu_mean, reference, torch.randn(2, 5, 11, device=device))


def test_expanded_gradient(device):
    """A sum hands back a gradient whose strides are all zero."""
    x = torch.randn(2, 3, 4, 5, device=device, requires_grad=True)
    (got,) = torch.autograd.grad(gelu_mean(x)[0].sum(), x)
    (wanted,) = torch.autograd.grad(reference(x)[0].sum(), x)
    torch.testing.assert_close(got, wanted)


def test_saves_its_input_alone(device):
    saved = []
    x = torch.randn(2, 3, 4, 5, device=device, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        gelu_mean(x)
    assert [t.data_ptr() for t in saved] == [x.data_ptr()]


FOLDS = {
    "convolutions": (lambda: SELNeXtBlock(8, BlockOptions(ls_init_value=0.5)), 1),
    "linear layers": (lambda: SELNeXtBlock(64, BlockOptions(ls_init_value=0.5)), 1),
    "another pool": (lambda: nn.Sequential(nn.Conv2d(8, 8, 3), nn.GELU(), CA(8)), 0),
    "another use": (lambda: nn.Sequential(nn.GELU(), SE(8, reduction=2)), 0),  # of the input
}


@pytest.mark.parametrize("name", FOLDS)
def test_a_folded_network_takes_the_mean_with_the_gelu(device, monkeypatch, name):
    build, times = FOLDS[name]
    net, seen = build().eval().to(device), []
    x = torch.randn(2, 64 if name == "linear layers" else 8, 3, 4, device=device)
    made = fold(net, x)
    assert [f.identity for f in folded(made).folds].count(IDENTITY) == times
    monkeypatch.setattr(
        "convgate.folding.gelu_mean.gelu_mean", lambda *a: seen.append(1) or gelu_mean(*a)
    )
    with kernels.use("reference"):
        wanted = net(x)
        torch.testing.assert_close(made(x), wanted, rtol=1e-4, atol=1e-5)
        assert not seen
    torch.testing.assert_close(made(x), wanted, rtol=1e-4, atol=1e-5)
    assert len(seen) == times
