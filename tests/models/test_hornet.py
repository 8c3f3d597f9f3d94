"""HorNet against its equations written out, with a Fourier transform of plain sums."""

import math

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from convgate.models import HorNet
from convgate.models.hornet_block import GlobalLocalFilter, GnConv, HorNetBlock


def filtered(x, kernel):
    """Multiply the orthonormal discrete Fourier transform of x (N, C, H, W), by matrices."""

    def matrix(n, sign):
        angle = torch.arange(n, dtype=torch.float64)
        return torch.exp(sign * 2j * math.pi * torch.outer(angle, angle) / n) / n**0.5

    h, w = x.shape[2:]
    spectrum = matrix(h, -1) @ x.to(torch.complex128) @ matrix(w, -1)
    half = spectrum[..., : w // 2 + 1] * kernel
    # The other half of the spectrum of a real map mirrors the first, frequency by frequency.
    full = torch.zeros_like(spectrum)
    full[..., : w // 2 + 1] = half
    for v in range(w // 2 + 1, w):
        for u in range(h):
            full[..., u, v] = half[..., -u % h, w - v].conj()
    # A real map has no imaginary part where a frequency is its own mirror.
    for v in {0, w // 2} if w % 2 == 0 else {0}:
        column = half[..., v]
        mirror = column[..., [-u % h for u in range(h)]].conj()
        full[..., v] = (column + mirror) / 2
    return (matrix(h, 1) @ full @ matrix(w, 1)).real


def plain_filter(plain, w, x, kernel):
    x = plain.layer_norm(w, "pre_norm", x)
    half = x.shape[1] // 2
    near = plain.convolve(w, "conv_dw", x[:, :half])
    far = filtered(x[:, half:], kernel)
    y = torch.empty_like(x)
    y[:, 0::2], y[:, 1::2] = near, far
    return plain.layer_norm(w, "post_norm", y)


@pytest.mark.parametrize("side", [4, 5])
def test_filter_is_a_product_in_the_frequency_domain(plain, side):
    torch.manual_seed(0)
    module = plain.randomise(GlobalLocalFilter(6, side))
    kernel = torch.complex(*module.spectrum.detach().unbind(-1))
    x = torch.randn(2, 6, side, side, dtype=torch.float64)
    plain.close(module(x), plain_filter(plain, module.state_dict(), x, kernel))


def test_filter_resizes_its_spectrum_from_corner_to_corner():
    """Linear in both frequencies: a plane of values stays one, whatever the size of the map."""
    module = GlobalLocalFilter(4, 6)  # 6 x 4 frequencies
    u, v = torch.linspace(0, 1, 6), torch.linspace(0, 1, 4)
    plane = (u[:, None] * 2 + v * 3 + 1).expand(2, 6, 4)
    module.spectrum.data = torch.stack([plane, -plane], -1)
    for h, w in [(9, 10), (3, 5), (6, 4)]:
        frequencies = torch.empty(1, 2, h, w // 2 + 1, dtype=torch.complex64)
        u, v = torch.linspace(0, 1, h), torch.linspace(0, 1, w // 2 + 1)
        expected = u[:, None] * 2 + v * 3 + 1
        expected = torch.complex(expected, -expected).expand(2, -1, -1)
        torch.testing.assert_close(module.kernel(frequencies), expected)


def plain_gnconv(plain, w, x, order):
    c = x.shape[1]
    widths = [c // 2 ** (order - 1 - k) for k in range(order)]
    y = plain.convolve(w, "proj_in", x)
    p, q = y[:, : widths[0]], y[:, widths[0] :]
    q = list((plain.convolve(w, "mix", q) / 3).split(widths, 1))
    for k in range(order):
        p = (p if k == 0 else plain.convolve(w, f"steps.{k - 1}", p)) * q[k]
    return plain.convolve(w, "proj_out", p)


@pytest.mark.parametrize("order", [2, 3, 5])
def test_gated_convolution_is_its_recursion(plain, order):
    torch.manual_seed(0)
    module = plain.randomise(GnConv(16, order))
    x = torch.randn(2, 16, 8, 5, dtype=torch.float64)
    plain.close(module(x), plain_gnconv(plain, module.state_dict(), x, order))


def test_block_is_two_branches(plain):
    torch.manual_seed(0)
    block = plain.randomise(HorNetBlock(8, 3))
    w = block.state_dict()
    x = torch.randn(2, 8, 6, 7, dtype=torch.float64)
    mixed = plain_gnconv(plain, plain.under(w, "gnconv"), plain.layer_norm(w, "norm1", x), 3)
    z = x + w["gamma1"] * mixed
    y = F.conv2d(
        plain.layer_norm(w, "norm2", z), w["mlp.fc1.weight"][..., None, None], w["mlp.fc1.bias"]
    )
    y = y * (1 + torch.erf(y / 2**0.5)) / 2
    y = F.conv2d(y, w["mlp.fc2.weight"][..., None, None], w["mlp.fc2.bias"])
    plain.close(block(x), z + w["gamma2"][:, None, None] * y)


def small(**options):
    return HorNet(num_classes=5, depths=(1, 1, 1, 1), dims=(16, 32, 64, 128), **options).eval()


@pytest.mark.parametrize("sides", [(0, 0, 0, 0), (0, 0, 14, 7)])
@pytest.mark.parametrize("size", [(32, 32), (33, 70), (64, 50)])
def test_any_size_from_32(sides, size):
    assert small(sides=sides)(torch.randn(1, 3, *size)).shape == (1, 5)


@pytest.mark.parametrize("name", ["hornet_small", "hornet_base_gf"])
def test_orders_and_filters_by_stage(name):
    with torch.device("meta"):
        net = timm.create_model(name)
    blocks = [stage.blocks for stage in net.stages]
    assert [len(stage) for stage in blocks] == [2, 3, 18, 2]
    assert [len(stage[0].gnconv.widths) for stage in blocks] == [2, 3, 4, 5]
    kinds = [type(stage[-1].gnconv.mix) for stage in blocks]
    last = GlobalLocalFilter if name.endswith("gf") else nn.Conv2d
    assert kinds == [nn.Conv2d, nn.Conv2d, last, last]
    if name.endswith("gf"):
        sizes = [tuple(stage[0].gnconv.mix.spectrum.shape[1:3]) for stage in blocks[2:]]
        assert sizes == [(14, 8), (7, 4)]


def test_initial_values():
    net = small(sides=(0, 0, 14, 7))
    block = net.stages[2].blocks[0]
    assert torch.equal(block.gamma1, torch.full((64, 1, 1), 1e-6))
    assert torch.equal(block.gamma2, torch.full((64,), 1e-6))
    spectrum = block.gnconv.mix.spectrum
    assert spectrum.std().item() == pytest.approx(0.02, rel=0.1)
    assert block.gnconv.proj_in.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_drop_path_grows_linearly():
    net = small(drop_path_rate=0.3)
    rates = [getattr(s.blocks[0].drop_path, "drop_prob", 0.0) for s in net.stages]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_half_precision_transforms_in_float32():
    torch.manual_seed(0)
    net = small(sides=(0, 0, 14, 7))
    x = torch.randn(2, 3, 32, 32)
    exact = net(x)
    with torch.autocast("cpu", torch.bfloat16):
        low = net(x)
    assert (low.float() - exact).norm() <= 0.05 * exact.norm()
    assert net.bfloat16()(x.bfloat16()).dtype == torch.bfloat16
