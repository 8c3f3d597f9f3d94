"""Strips and their product: the references number by number, the kernels against them."""

import pytest
import torch

from convgate.kernels.strip_gate import reference, reference_strips, strip_gate, strips


def test_references_are_the_equations():
    x, s_h, s_w = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4), torch.randn(2, 3, 5)
    rows, columns = reference_strips(x)
    y = reference(x, s_h, s_w)
    for n, c, h, w in ((0, 0, 0, 0), (1, 2, 3, 4), (1, 0, 2, 1)):
        assert rows[n, c, h].item() == pytest.approx(sum(x[n, c, h].tolist()) / 5, abs=1e-6)
        assert columns[n, c, w].item() == pytest.approx(sum(x[n, c, :, w].tolist()) / 4, abs=1e-6)
        assert y[n, c, h, w] == pytest.approx((s_h[n, c, h] * s_w[n, c, w] * x[n, c, h, w]).item())


def test_references_have_their_gradients():
    x, s_h, s_w = (
        torch.randn(size, dtype=torch.float64, requires_grad=True)
        for size in ((2, 2, 3, 2), (2, 2, 3), (2, 2, 2))
    )
    assert torch.autograd.gradcheck(reference_strips, (x,))
    assert torch.autograd.gradcheck(reference, (x, s_h, s_w))


def test_strips_kernel(case, agree):
    _, make = case
    agree(strips, reference_strips, make())


def test_product_kernel(case, agree):
    (n, c, h, w), make = case
    agree(strip_gate, reference, make(), make(n, c, h, 1)[..., 0], make(n, c, w, 1)[..., 0])


@pytest.mark.parametrize("size", [(1, 2, 3, 300), (1, 2, 300, 3)])
@pytest.mark.parametrize("last", [False, True])
def test_more_than_a_block_of_rows_or_columns(device, agree, size, last):
    x = torch.randn(size, device=device)
    x = x.to(memory_format=torch.channels_last) if last else x
    n, c, h, w = size
    agree(strips, reference_strips, x)
    s_h, s_w = torch.randn(n, c, h, device=device), torch.randn(n, c, w, device=device)
    agree(strip_gate, reference, x, s_h, s_w)


def test_half_precision_strips_of_a_float32_map(device):
    """Under autocast the convolution between the two is bfloat16, the map still float32."""
    x = torch.randn(2, 3, 4, 5, device=device)
    s_h, s_w = (torch.rand(2, 3, k, device=device).bfloat16().requires_grad_() for k in (4, 5))
    y = strip_gate(x, s_h, s_w)
    torch.testing.assert_close(y, reference(x, s_h, s_w), rtol=2e-2, atol=2e-2)
    got = torch.autograd.grad(y.sum(), (s_h, s_w))
    wanted = torch.autograd.grad(reference(x, s_h, s_w).sum(), (s_h, s_w))
    torch.testing.assert_close(got, wanted, rtol=3e-2, atol=3e-2)
