"""The distance of channels: the reference against all pairs, the kernel against it."""

import pytest
import torch

from convgate.kernels.cosine_distance import cosine_distance, reference


def all_pairs(image):
    """Average (1 - cos) / 2 over the ordered pairs of channels; a zero channel has cosine 0."""
    total = 0.0
    for one in image.double().flatten(1):
        for other in image.double().flatten(1):
            scale = float(one.norm() * other.norm())
            total += (1 - (float(one @ other) / scale if scale else 0.0)) / 2
    return total / len(image) ** 2


def test_reference_is_the_mean_over_all_pairs():
    x = torch.randn(3, 5, 4, 3) + 0.5
    x[1, 2] = 0
    distance, zeros = reference(x)
    assert distance.tolist() == pytest.approx([all_pairs(image) for image in x], abs=1e-6)
    assert zeros.tolist() == [0, 1, 0]


def test_reference_has_its_gradient():
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: reference(x)[0], (x,))


def test_a_zero_channel_has_no_gradient():
    x = torch.randn(1, 3, 2, 2)
    x[0, 1] = 0
    (gradient,) = torch.autograd.grad(reference(x.requires_grad_())[0].sum(), x)
    assert gradient.isfinite().all()
    assert not gradient[0, 1].any()
    assert gradient[0, 0].any()


def test_kernel(case, agree):
    _, make = case
    agree(cosine_distance, reference, make())


def test_zero_channels_in_the_kernel(device, agree):
    x = torch.randn(2, 4, 3, 3, device=device)
    x[0, 1] = x[1, 0] = x[1, 3] = 0
    assert cosine_distance(x)[1].tolist() == [1, 2]
    agree(cosine_distance, reference, x)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_does_not_matter_even_at_the_ends_of_float32(device, scale):
    x = torch.rand(1, 4, 3, 3, device=device)
    wanted, _ = reference(x.double())
    torch.testing.assert_close(cosine_distance(x * scale)[0].double(), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rising", [False, True])
def test_the_peak_may_rise_from_tile_to_tile(device, rising):
    """1600 positions of 16 channels at a time are two tiles of different size."""
    x = torch.rand(1, 16, 40, 40, device=device)
    grow = torch.logspace(-6, 6, 1600, device=device).view(40, 40)
    x = x * (grow if rising else grow.flip(0, 1))
    x = x.to(memory_format=torch.channels_last)
    wanted, _ = reference(x.double())
    torch.testing.assert_close(cosine_distance(x)[0].double(), wanted, rtol=0, atol=1e-6)
