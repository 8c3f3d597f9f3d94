"""The block's two products: references against plain sums, kernels and block against them."""

import math

import pytest
import torch
from torch import nn

from convgate import kernels
from convgate.kernels.selnext_block import (
    reference_expand,
    reference_project,
    selnext_expand,
    selnext_project,
)
from convgate.kernels.selnext_recompute import (
    fits,
    reference_recompute,
    reference_squeeze,
    selnext_recompute,
    selnext_squeeze,
)
from convgate.models import selnext_block
from convgate.models.selnext_block import BlockOptions, SELNeXtBlock

# Channels below, at and above a tile of the interpreter; rows of one tile and of several.
SIZES = [(1, 1, 1, 3), (2, 3, 5, 8), (2, 9, 9, 20)]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def weights(channels, device="cpu", dtype=torch.float32):
    """Return W1, b1, W2, b2, gamma."""
    hidden = 4 * channels
    sizes = (hidden, channels), (hidden,), (channels, hidden), (channels,), (channels,)
    made = [torch.randn(size, device=device) / size[-1] ** 0.5 for size in sizes]
    return [each.to(dtype) for each in made]


def test_references_are_the_equations():
    x, (w1, b1, w2, b2, gamma) = torch.randn(2, 2, 1, 3), weights(3)
    s, r = torch.randn(2, 12), torch.randn(2, 2, 1, 3)
    h, mean = reference_expand(x, w1, b1)
    y = reference_project(h, s, w2, b2, gamma, r)
    for n in range(2):
        rows = []
        for p in range(2):
            v = [float(w1[k] @ x[n, p, 0] + b1[k]) for k in range(12)]
            rows.append([a * (1 + math.erf(a / 2**0.5)) / 2 for a in v])
            assert h[n, p, 0].tolist() == pytest.approx(rows[-1], abs=1e-6)
            scaled = s[n] * torch.tensor(rows[-1])
            for c in range(3):
                wanted = gamma[c] * (w2[c] @ scaled + b2[c]) + r[n, p, 0, c]
                assert y[n, p, 0, c].item() == pytest.approx(wanted.item(), abs=1e-5)
        assert mean[n].tolist() == pytest.approx(
            [(a + b) / 2 for a, b in zip(*rows, strict=True)], abs=1e-6
        )


def test_references_have_their_gradients():
    x, (w1, b1, w2, b2, gamma) = torch.randn(2, 2, 1, 2).double(), weights(2, dtype=torch.float64)
    h, s = torch.randn(2, 2, 1, 8).double(), torch.randn(2, 8).double()
    for function, arguments in (
        (reference_expand, (x, w1, b1)),
        (reference_project, (h, s, w2, b2, gamma, x)),
    ):
        assert torch.autograd.gradcheck(function, [a.requires_grad_() for a in arguments])


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_expand_kernel(device, agree, size, dtype):
    w1, b1, *_ = weights(size[-1], device, dtype)
    agree(selnext_expand, reference_expand, torch.randn(size, device=device).to(dtype), w1, b1)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ends", ["none", "gamma", "shortcut", "both"])
def test_project_kernel(device, agree, size, dtype, ends):
    n, height, width, c = size
    _, _, w2, b2, gamma = weights(c, device, dtype)
    h = torch.randn(n, height, width, 4 * c, device=device).to(dtype)
    s, r = (
        torch.randn(n, 4 * c, device=device).to(dtype),
        torch.randn(size, device=device).to(dtype),
    )
    gamma = gamma if ends in ("gamma", "both") else None
    r = r if ends in ("shortcut", "both") else None
    # The gradient of gamma passes through one more rounded sum than the reference's.
    agree(selnext_project, reference_project, h, s, w2, b2, gamma, r, factor=2)


def test_strided_input(device, agree):
    """NCHW memory, as it is behind a network that does not keep channels last."""
    w1, b1, *_ = weights(8, device)
    x = torch.randn(2, 8, 3, 5, device=device).permute(0, 2, 3, 1)
    agree(selnext_expand, reference_expand, x, w1, b1)


@pytest.mark.parametrize("size", [*SIZES, (2, 5, 5, 40)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ends", ["none", "both"])
def test_recompute_kernels(device, size, dtype, ends):
    w1, b1, w2, b2, gamma = weights(size[-1], device, dtype)
    x, r = (torch.randn(size, device=device).to(dtype) for _ in range(2))
    s = torch.randn(size[0], 4 * size[-1], device=device).to(dtype)
    more = (gamma, r) if ends == "both" else ()
    tolerance = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 4e-2}[dtype]
    with torch.no_grad():
        for fused, reference, given in (
            (selnext_squeeze, reference_squeeze, (x, w1, b1)),
            (selnext_recompute, reference_recompute, (x, s, (w1, b1), (w2, b2), *more)),
        ):
            got, like = fused(*given), reference(*given)
            wanted = reference(*torch.utils._pytree.tree_map(torch.Tensor.double, given))
            assert got.dtype == like.dtype
            torch.testing.assert_close(got.double(), wanted, rtol=tolerance, atol=tolerance)


def test_recompute_of_strided_input(device):
    w1, b1, w2, b2, gamma = weights(8, device)
    x, r = (torch.randn(2, 8, 3, 5, device=device).permute(0, 2, 3, 1) for _ in range(2))
    s = torch.randn(2, 32, device=device)
    given = x, s, (w1, b1), (w2, b2), gamma, r
    torch.testing.assert_close(selnext_recompute(*given), reference_recompute(*given))
    torch.testing.assert_close(selnext_squeeze(x, w1, b1), reference_squeeze(x, w1, b1))


def test_what_a_tile_holds():
    def narrow(channels, dtype):
        return fits(torch.empty(0, channels, dtype=dtype))

    assert narrow(256, torch.float32)
    assert narrow(384, torch.bfloat16)  # in 512
    assert not narrow(257, torch.float32)
    assert not narrow(768, torch.float16)


def both_ways(block, x, device, **autocast):
    """Return output and gradients by the reference and by the kernels."""
    found = []
    for path in ("reference", "fused"):
        point = x.detach().requires_grad_()
        block.zero_grad()
        torch.manual_seed(3)  # for drop path
        with kernels.use(path), torch.autocast(device, **autocast):
            y = block(point)
        y.float().square().sum().backward()
        found.append((y, point.grad, {k: p.grad for k, p in block.named_parameters()}))
    return found


@pytest.mark.parametrize("gate", ["seln", "se", "eca"])
@pytest.mark.parametrize("half", [False, True])
def test_block(device, gate, half):
    block = SELNeXtBlock(8, BlockOptions(gate=gate, ls_init_value=0.5)).to(device)
    x = torch.randn(2, 8, 5, 6, device=device)
    tolerance = 2e-2 if half else 1e-5
    plain, fused = both_ways(block, x, device, dtype=torch.bfloat16, enabled=half)
    assert fused[0].dtype == plain[0].dtype
    assert fused[0].stride() == plain[0].stride()
    for got, wanted in zip(fused[:2], plain[:2], strict=True):
        torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)
    for key, wanted in plain[2].items():
        atol = tolerance * max(wanted.abs().max().item(), 1.0)
        torch.testing.assert_close(fused[2][key], wanted, rtol=tolerance, atol=atol)


@pytest.mark.parametrize("half", [False, True])
def test_block_that_computes_its_hidden_features_again(device, monkeypatch, half):
    monkeypatch.setattr(selnext_block, "fastest", lambda forms, *key: forms[-1])
    expanded = calls(monkeypatch)
    block = SELNeXtBlock(8, BlockOptions(ls_init_value=0.5)).to(device).eval()
    x = torch.randn(2, 8, 5, 6, device=device)
    with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=half):
        fused = block(x)
        with kernels.use("reference"):
            plain = block(x)
    tolerance = 2e-2 if half else 1e-5
    torch.testing.assert_close(fused, plain, rtol=tolerance, atol=tolerance)
    assert not expanded
    block(x)  # with gradients
    assert len(expanded) == 1


def test_block_with_drop_path(device):
    block = SELNeXtBlock(8, BlockOptions(ls_init_value=0.5), drop_path=0.5).to(device)
    x = torch.randn(6, 8, 3, 3, device=device)
    plain, fused = both_ways(block, x, device, enabled=False)
    torch.testing.assert_close(fused[:2], plain[:2], rtol=1e-5, atol=1e-5)
    assert any(torch.equal(y, x[i]) for i, y in enumerate(fused[0]))  # a skipped sample


def calls(monkeypatch):
    """Count the blocks that take the kernels."""
    seen = []
    plain = selnext_expand
    monkeypatch.setattr(
        "convgate.models.selnext_block.selnext_expand", lambda *a: seen.append(1) or plain(*a)
    )
    return seen


def test_a_watched_layer_still_runs(device, monkeypatch):
    """Feature maps and class activation maps are read by hooks on the layers."""
    seen, block = calls(monkeypatch), SELNeXtBlock(8, BlockOptions()).to(device)
    x, maps = torch.randn(1, 8, 3, 3, device=device), []
    handle = block.mlp.act.register_forward_hook(lambda m, a, out: maps.append(out))
    block(x)
    assert (len(maps), len(seen)) == (1, 0)
    handle.remove()
    block(x)
    assert (len(maps), len(seen)) == (1, 1)


def test_what_is_not_as_built_takes_the_layers(device, monkeypatch):
    seen, x = calls(monkeypatch), torch.randn(1, 8, 3, 3, device=device)
    changed = SELNeXtBlock(8, BlockOptions()).to(device)
    changed.mlp.act = nn.ReLU()
    for block in (changed, SELNeXtBlock(8, BlockOptions(gate="grn")).to(device)):
        block(x)
    assert not seen
