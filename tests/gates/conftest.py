"""What the tests of every gate share: a float64 comparison of values and of all gradients."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from convgate.gates import Gate

Naive = Callable[[Gate, Tensor], Tensor]


def _value_and_gradients(
    function: Callable[[Tensor], Tensor], gate: Gate, x: Tensor, direction: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    point = x.detach().clone().requires_grad_()
    parameters = dict(gate.named_parameters())
    y = function(point)
    gradients = torch.autograd.grad(
        (y * direction).sum(), [point, *parameters.values()], allow_unused=True
    )
    names = ["x", *parameters]
    sources = [point, *parameters.values()]
    filled = {
        name: torch.zeros_like(source) if gradient is None else gradient
        for name, source, gradient in zip(names, sources, gradients, strict=True)
    }
    return y.detach(), filled


def _check_equation(gate: Gate, x: Tensor, expected_fn: Naive, *, rtol: float = 1e-8) -> None:
    gate = gate.double()
    x = x.double()
    buffers = {name: buffer.clone() for name, buffer in gate.named_buffers()}
    direction = torch.randn(x.shape, dtype=torch.float64)
    value, gradients = _value_and_gradients(gate, gate, x, direction)
    with torch.no_grad():  # a training-mode norm moved its running statistics
        for name, buffer in gate.named_buffers():
            buffer.copy_(buffers[name])
    wanted, wanted_gradients = _value_and_gradients(
        lambda point: expected_fn(gate, point), gate, x, direction
    )
    assert value.dtype == torch.float64
    torch.testing.assert_close(value, wanted, rtol=1e-9, atol=1e-10, msg=lambda m: f"value: {m}")
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            gradient,
            wanted_gradients[name],
            rtol=rtol,
            atol=1e-9,
            msg=lambda m, name=name: f"gradient of {name}: {m}",
        )


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def check_equation() -> Callable[..., None]:
    """Compare a gate with `expected_fn(gate, x)`, its equation written naively, in float64.

    Compared: y, and the gradients of x and of every parameter along one random direction.
    `rtol` widens the tolerance of the gradients; say why where it is used.
    """
    return _check_equation


def _scramble(gate: Gate, seed: int = 0) -> Gate:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in gate.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(0.5 * noise)
        for name, buffer in gate.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                noise = torch.rand(buffer.shape, generator=generator, dtype=torch.float64)
                buffer.copy_(0.5 + noise)
    return gate


@pytest.fixture
def scramble() -> Callable[..., Gate]:
    """Give every parameter a random value, so that none hides behind a zero or a one."""
    return _scramble
