"""What PyTorch asks of an operator, and the gates on top: opcheck, compile, autocast."""

import pytest
import torch

from convgate import kernels
from convgate.gates import create_gate
from convgate.models.selnext_block import BlockOptions, SELNeXtBlock

GATES = ["ca", "ean", "ean_code", "ela", "ela_s"]
SIZES = {
    "gelu_mean": [(2, 3, 4, 5)],
    "scale_residual_act": [(2, 3, 4, 5), (2, 3, 1, 1), (2, 3, 4, 5)],
    "ean": [(2, 3, 4, 5), (3,), (3,)],
    "strips": [(2, 3, 4, 5)],
    "strip_gate": [(2, 3, 4, 5), (2, 3, 4), (2, 3, 5)],
    "cosine": [(2, 3, 4, 5)],
    "selnext_expand": [(2, 3, 2, 4), (16, 4), (16,)],
    "selnext_squeeze": [(2, 3, 2, 4), (16, 4), (16,)],
    "selnext_recompute": [(2, 3, 2, 4), (2, 16), (16, 4), (16,), (4, 16), (4,), (4,), (2, 3, 2, 4)],
    "selnext_project": [(2, 3, 2, 16), (2, 16), (4, 16), (4,), (4,), (2, 3, 2, 4)],
}
NO_GRADIENT = {"selnext_squeeze", "selnext_recompute"}
OPTIONS = {"scale_residual_act": [(True,), (False,)], "ean": [(1e-5,)]}


def load():
    """Register every operator."""
    from convgate.kernels.fused import (
        cosine_distance,
        ean,
        gelu_mean,
        scale_residual_act,
        selnext_block,
        selnext_recompute,
        strip_gate,
    )

    products = selnext_block, selnext_recompute
    return cosine_distance, ean, gelu_mean, scale_residual_act, *products, strip_gate


def arguments(name, device, last):
    made = [torch.randn(size, device=device) for size in SIZES[name]]
    if last and "selnext" not in name:
        made = [a.to(memory_format=torch.channels_last) if a.ndim == 4 else a for a in made]
    return [a.requires_grad_(name not in NO_GRADIENT) for a in made]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # opcheck looks at them
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", SIZES)
def test_opcheck(device, name, last):
    load()
    operator = getattr(torch.ops.convgate, name).default
    for options in OPTIONS.get(name, [()]):
        torch.library.opcheck(operator, (*arguments(name, device, last), *options))


def test_every_operator_is_checked(device):
    load()
    ours = {name.split("::")[1] for name in torch._C._dispatch_get_all_op_names()
            if name.startswith("convgate::")}  # fmt: skip
    assert {name for name in ours if not name.endswith("_backward")} == set(SIZES)


@pytest.mark.parametrize("path", ["reference", "fused"])
@pytest.mark.parametrize("name", [*GATES, "block"])
def test_compiles_to_one_graph(device, name, path):
    torch.compiler.reset()
    module, x = build(name, device), torch.randn(2, 32, 4, 5, device=device, requires_grad=True)
    with kernels.use(path):
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
        y = compiled(x)
        (got,) = torch.autograd.grad(y.square().sum(), x)
        (wanted,) = torch.autograd.grad(module(x).square().sum(), x)
        torch.testing.assert_close(y, module(x))
    torch.testing.assert_close(got, wanted)


def build(name, device):
    torch.manual_seed(0)
    if name == "block":
        return SELNeXtBlock(32, BlockOptions(ls_init_value=0.5)).to(device)
    gate = create_gate(name, 32).to(device)
    with torch.no_grad():
        for parameter in gate.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return gate


def value_and_gradients(module, x, path, half):
    point = x.detach().requires_grad_()
    module.zero_grad()
    with kernels.use(path), torch.autocast(x.device.type, torch.bfloat16, enabled=half):
        y = module(point)
    y.float().square().sum().backward()
    return y, point.grad, *(parameter.grad for parameter in module.parameters())


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", GATES)
def test_gate(device, name, last, half):
    gate, x = build(name, device), torch.randn(2, 32, 4, 5, device=device)
    x = x.to(memory_format=torch.channels_last) if last else x
    tolerance = 2e-2 if half else 1e-5
    fused = value_and_gradients(gate, x, "fused", half)
    plain = value_and_gradients(gate, x, "reference", half)
    assert fused[0].dtype == plain[0].dtype
    assert fused[0].stride() == plain[0].stride()
    for got, wanted in zip(fused, plain, strict=True):
        atol = tolerance * max(wanted.abs().max().item(), 1.0)
        torch.testing.assert_close(got, wanted, rtol=tolerance, atol=atol)


@pytest.mark.cuda
@pytest.mark.parametrize("last", [False, True])
def test_more_than_2_to_the_31_numbers(last):
    from convgate.kernels.ean import ean, reference

    size = 3, 16, 16384, 3072  # 2.4e9 numbers, 4.5 GiB
    x = torch.zeros(size, device="cuda", dtype=torch.bfloat16)
    x = x.to(memory_format=torch.channels_last) if last else x
    x[-1, -1, -8:] = torch.randn(8, 3072, device="cuda")
    slope, shift = torch.ones(16, device="cuda"), torch.zeros(16, device="cuda")
    with kernels.use("fused"):
        y = ean(x, slope, shift, 1e-5)
    wanted = reference(x[-1:, -1:], slope[:1], shift[:1], 1e-5)
    torch.testing.assert_close(y[-1:, -1:], wanted, rtol=2e-2, atol=2e-2)
