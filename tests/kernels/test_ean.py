"""EAN: the reference against the equation, the kernel on planes that fit on chip and larger."""

import pytest
import torch

from convgate.kernels.ean import ean, reference

EPS = 1e-5


def affine(channels, device="cpu", dtype=torch.float32):
    return tuple(torch.randn(channels, device=device).to(dtype) for _ in ("slope", "shift"))


def test_reference_is_the_equation():
    x, (slope, shift) = torch.randn(2, 3, 4, 5).double(), affine(3, dtype=torch.float64)
    y = reference(x, slope, shift, EPS)
    for n in range(2):
        for c in range(3):
            plane = x[n, c]
            mean = plane.sum() / 20
            var = ((plane - mean) ** 2).sum() / 20
            z = slope[c] * (plane - mean) / (var + EPS) ** 0.5 + shift[c]
            torch.testing.assert_close(y[n, c], plane / (1 + torch.exp(-z)))


def test_reference_has_its_gradient():
    x = torch.randn(2, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    numbers = [a.requires_grad_() for a in affine(2, dtype=torch.float64)]
    assert torch.autograd.gradcheck(lambda *a: reference(*a, EPS), (x, *numbers))


def test_kernel(case, agree):
    size, make = case
    x = make()
    # One position: its normalised value is 0 times 1 / sqrt(eps), and the gradient as large.
    agree(ean, reference, x, *affine(size[1], x.device), EPS, factor=3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_plane_too_large_for_one_tile(device, agree, dtype):
    """1600 positions of 16 channels at a time are two tiles, the second of 576."""
    x = torch.randn(1, 17, 40, 40, device=device).to(dtype) + 2
    x = x.to(memory_format=torch.channels_last)
    agree(ean, reference, x, *affine(17, device), EPS, factor=3)


def test_a_large_plane_of_contiguous_memory(device, agree):
    x = torch.randn(1, 2, 130, 130, device=device) - 3
    agree(ean, reference, x, *affine(2, device), EPS, factor=3)


# The interpreter also takes the sigmoid of what lies outside the map, and stores none of it.
@pytest.mark.filterwarnings("ignore:overflow encountered in exp")
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("offset", [1e4, -1e4])
def test_a_far_mean_loses_no_variance(device, offset, last):
    """The mean square minus the squared mean would be off by a few units here."""
    x = torch.randn(1, 16, 40, 40, device=device) + offset
    x = x.to(memory_format=torch.channels_last) if last else x
    slope, shift = affine(16, device)
    wanted = reference(x.double(), slope.double(), shift.double(), EPS)
    torch.testing.assert_close(ean(x, slope, shift, EPS).double(), wanted, rtol=1e-3, atol=0)


def test_saves_x_and_two_numbers_a_plane(device):
    saved = []
    x = torch.randn(2, 3, 4, 5, device=device, requires_grad=True)
    slope, shift = (a.requires_grad_() for a in affine(3, device))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        ean(x, slope, shift, EPS)
    assert sorted(t.numel() for t in saved) == [3, 3, 2 * 3, 2 * 3, x.numel()]


@pytest.mark.cuda
def test_training_takes_less_memory_than_the_reference():
    def peak(function):
        x = torch.randn(8, 64, 56, 56, device="cuda", requires_grad=True)
        numbers = affine(64, "cuda")
        function(x, *numbers, EPS).sum().backward()
        x.grad = None
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function(x, *numbers, EPS).sum().backward()
        return (torch.cuda.max_memory_allocated() - before) / (x.numel() * 4)

    # y, its gradient as wide as it, and the gradient of x: three maps and change.
    assert peak(ean) < 3.1
    assert peak(ean) < peak(reference) - 1
