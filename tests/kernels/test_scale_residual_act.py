"""The scaled residual: the reference number by number, the kernel against it."""

import pytest
import torch
from timm.models.resnet import BasicBlock
from torch import nn

from convgate import kernels
from convgate.errors import InputError
from convgate.folding import fold
from convgate.insertion import insert
from convgate.kernels.scale_residual_act import reference, scale_residual_act

both = pytest.mark.parametrize("act", ["none", "relu"])


@both
def test_reference_is_the_equation(act):
    x, s, r = torch.randn(2, 3, 2, 2), torch.randn(2, 3, 1, 1), torch.randn(2, 3, 2, 2)
    y = reference(x, s, r, act)
    for n in range(2):
        for c in range(3):
            plane = s[n, c].item() * x[n, c] + r[n, c]
            wanted = [[max(v, 0.0) if act == "relu" else v for v in row] for row in plane.tolist()]
            torch.testing.assert_close(y[n, c], torch.tensor(wanted))


@both
def test_reference_has_its_gradient(act):
    x, r = (torch.randn(2, 2, 3, 2, dtype=torch.float64, requires_grad=True) for _ in "xr")
    s = torch.randn(2, 2, 1, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *a: reference(*a, act), (x, s, r))


@both
def test_kernel(case, agree, act):
    (n, c, _, _), make = case
    agree(scale_residual_act, reference, make(), make(n, c, 1, 1), make(), act)


def test_one_scale_for_all_samples(device, agree):
    x, r = (torch.randn(3, 4, 5, 2, device=device) for _ in "xr")
    agree(scale_residual_act, reference, x, torch.randn(1, 4, 1, 1, device=device), r, "relu")


@both
@pytest.mark.parametrize("wide", ["branch", "shortcut"])
def test_branch_and_shortcut_of_two_dtypes(device, act, wide):
    """Under autocast the branch is bfloat16 and the shortcut still float32."""
    x, r = (torch.randn(2, 3, 4, 4, device=device) for _ in "xr")
    s = torch.rand(2, 3, 1, 1, device=device)
    x, r = (x, r.bfloat16()) if wide == "branch" else (x.bfloat16(), r)
    x.requires_grad_(), r.requires_grad_()
    y = scale_residual_act(x, s, r, act)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, reference(x, s, r, act), rtol=2e-2, atol=2e-2)
    dx, dr = torch.autograd.grad(y.sum(), (x, r))
    assert (dx.dtype, dr.dtype) == (x.dtype, r.dtype)
    passed = (y > 0).to(r.dtype) if act == "relu" else torch.ones_like(r)
    torch.testing.assert_close(dr, passed)


def test_relu_keeps_a_nan(device):
    x = torch.full((1, 1, 2, 2), torch.nan, device=device)
    one = torch.ones(1, 1, 1, 1, device=device)
    assert scale_residual_act(x, one, x, "relu").isnan().all()


@pytest.mark.parametrize(("gate", "kernels_called"), [("se", 1), ("ela", 0)])
def test_a_folded_block_ends_in_the_kernel(device, monkeypatch, gate, kernels_called):
    """ELA's strips scale rows and columns, which the kernel does not."""
    net = nn.Sequential(BasicBlock(16, 16)).eval()
    insert(net, gate, at="block_end", start="paper", **({"num_groups": 4} if gate == "ela" else {}))
    net, x, seen = net.to(device), torch.randn(2, 16, 5, 6, device=device), []
    with kernels.use("reference"):
        wanted, made = net(x), fold(net, x)
    with monkeypatch.context() as patch:
        patch.setattr(
            "convgate.folding.residual.scale_residual_act",
            lambda *a: seen.append(a[3]) or scale_residual_act(*a),
        )
        got = made(x)
    assert seen == ["relu"] * kernels_called
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_bad_arguments_name_the_way_out():
    x = torch.randn(2, 3, 4, 4)
    with pytest.raises(InputError, match=r"unknown activation .* 'rely'; did you mean 'relu'"):
        scale_residual_act(x, x.mean((2, 3), keepdim=True), x, "rely")
    with pytest.raises(InputError, match=r"scale \(2, 3\) .* give \(2, 3, 1, 1\)"):
        scale_residual_act(x, x.mean((2, 3)), x)
    with pytest.raises(InputError, match=r"shortcut \(2, 3, 4, 3\)"):
        scale_residual_act(x, x.mean((2, 3), keepdim=True), x[..., 1:])
