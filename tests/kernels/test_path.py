"""Which path is taken, and what never sees a kernel."""

import logging
import subprocess
import sys

import pytest
import torch

from convgate import kernels
from convgate.errors import InputError
from convgate.gates import create_gate
from convgate.kernels import path
from convgate.kernels.gelu_mean import gelu_mean
from convgate.measure import count

KERNEL_GATES = ["ca", "ean", "ela"]


class OnCuda(torch.Tensor):
    """A tensor that says it is on a GPU."""

    is_cuda = True


@pytest.fixture
def cuda_tensor(monkeypatch):
    """On a device where every kernel agrees with its reference."""
    monkeypatch.setattr(path, "trusts", lambda stem, device, dtype: stem != "wrong")
    return torch.randn(1, 2, 3, 3).as_subclass(OnCuda)


def test_a_cpu_tensor_takes_the_reference():
    assert not path.takes_fused(torch.randn(1, 2, 3, 3))


def test_a_cuda_tensor_takes_the_kernel_in_three_dtypes(cuda_tensor, monkeypatch):
    monkeypatch.setattr(path, "HAS_TRITON", True)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        assert path.takes_fused(cuda_tensor.to(dtype))
    assert not path.takes_fused(cuda_tensor.double())
    assert not path.takes_fused(cuda_tensor[:0])


def test_a_kernel_that_is_not_trusted_is_not_taken(cuda_tensor, monkeypatch):
    monkeypatch.setattr(path, "HAS_TRITON", True)
    assert path.takes_fused(cuda_tensor, "ean")
    assert not path.takes_fused(cuda_tensor, "ean", "wrong")
    with kernels.use("reference"):
        assert not path.takes_fused(cuda_tensor, "ean")


def test_without_triton_a_cuda_tensor_says_so_once(cuda_tensor, monkeypatch, caplog):
    monkeypatch.setattr(path, "HAS_TRITON", False)
    monkeypatch.setattr(path, "_said", set())
    with caplog.at_level(logging.WARNING, "convgate.kernels"):
        assert not path.takes_fused(cuda_tensor)
        assert not path.takes_fused(cuda_tensor)
    assert [record.message for record in caplog.records] == [
        "Triton is not installed: CUDA tensors take the plain torch path"
    ]


def test_reference_holds_inside_the_context_and_after_a_plain_call(cuda_tensor, monkeypatch):
    monkeypatch.setattr(path, "HAS_TRITON", True)
    with kernels.use("reference"):
        assert not path.takes_fused(cuda_tensor)
    assert path.takes_fused(cuda_tensor)
    try:
        kernels.use("reference")
        assert not path.takes_fused(cuda_tensor)
    finally:
        kernels.use("auto")
    assert path.takes_fused(cuda_tensor)


def test_the_path_comes_back_after_an_error(cuda_tensor, monkeypatch):
    monkeypatch.setattr(path, "HAS_TRITON", True)
    with pytest.raises(KeyError), kernels.use("reference"):
        raise KeyError
    assert path.takes_fused(cuda_tensor)


def test_fused_refuses_what_it_cannot_run(monkeypatch):
    monkeypatch.setattr(path, "HAS_TRITON", True)
    with kernels.use("fused"):
        with pytest.raises(InputError, match=r"no torch.float64; give float32"):
            gelu_mean(torch.randn(1, 2, 3, 3, dtype=torch.float64))
        pytest.importorskip("triton")
        monkeypatch.setattr("convgate.kernels.fused.launch.INTERPRETED", False)
        with pytest.raises(InputError, match=r"not one on cpu; use\('auto'\)"):
            gelu_mean(torch.randn(1, 2, 3, 3))


def test_fused_without_triton_names_the_package(monkeypatch):
    monkeypatch.setattr(path, "HAS_TRITON", False)
    with pytest.raises(InputError, match="pip install triton"):
        kernels.use("fused")


def test_an_unknown_path_is_named_with_the_nearest():
    with pytest.raises(InputError, match="unknown path of the kernels 'fuse'; did you mean"):
        kernels.use("fuse")


@pytest.mark.parametrize("name", KERNEL_GATES)
def test_an_exported_graph_holds_the_reference(name, monkeypatch):
    """On any device: `fused` would refuse a CPU tensor if it were asked."""
    monkeypatch.setattr(path, "HAS_TRITON", True)
    gate, x = create_gate(name, 32).eval(), torch.randn(2, 32, 4, 5)
    with kernels.use("fused"):
        program = torch.export.export(gate, (x,))
    assert not [node for node in program.graph.nodes if "convgate" in str(node.target)]


@pytest.mark.filterwarnings("ignore:.torch.jit.trace")  # engines still trace
@pytest.mark.parametrize("name", KERNEL_GATES)
def test_a_traced_graph_holds_the_reference(name, monkeypatch):
    monkeypatch.setattr(path, "HAS_TRITON", True)
    gate, x = create_gate(name, 32).eval(), torch.randn(2, 32, 4, 5)
    with kernels.use("fused"), torch.no_grad():
        graph = torch.jit.trace(gate, x, check_trace=False).inlined_graph
    assert "convgate::" not in str(graph)


@pytest.mark.parametrize("name", KERNEL_GATES)
def test_counting_takes_the_reference(name, monkeypatch):
    monkeypatch.setattr(path, "HAS_TRITON", True)
    gate, x = create_gate(name, 32), torch.randn(2, 32, 4, 5)
    plain = count(gate, x)
    with kernels.use("fused"):
        assert count(gate, x) == plain


def test_operators_are_exported_by_name_without_triton():
    code = "import sys, convgate.kernels as k; print(k.__all__, 'triton' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.endswith("False\n")
    plain = torch.randn(2, 3, 4, 5)
    y, mean = kernels.gelu_mean(plain)
    torch.testing.assert_close(mean, y.mean((2, 3)))
    assert all(callable(getattr(kernels, name)) for name in kernels.__all__)
