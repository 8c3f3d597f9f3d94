"""A gate in pure float16 on maps near the end of its range: 65504 is its largest number."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor

from convgate.gates import Gate, create_gate, list_gates
from convgate.insertion import start_as_identity

SHAPE = 4, 128, 5, 6
LARGEST = 65_000  # a little below the range's end, for what rounds over it


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# Nothing constant within a channel: a batch norm divides float32's rounding by no variance there.
MAPS = {
    "signs": noise(1, *SHAPE).sign(),
    "planes": noise(2, *SHAPE[:2], 1, 1).sign() * noise(2, *SHAPE).sigmoid(),
    "positive": noise(3, *SHAPE).sigmoid(),
    "one column": noise(5, *SHAPE).sigmoid() * (torch.arange(SHAPE[3]) == 0),
}


def build(name: str, start: str) -> Gate:
    torch.manual_seed(0)
    gate = create_gate(name, SHAPE[1])
    if start == "identity":
        return start_as_identity(gate)
    with torch.no_grad():
        for parameter in gate.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return gate


def run(gate: Gate, x: Tensor, dy: Tensor) -> dict[str, Tensor]:
    """Return y, its gradient in x, and the running statistics."""
    torch.manual_seed(2)  # one gate draws at every forward
    x = x.clone().requires_grad_()
    y = gate(x)
    y.backward(dy)
    statistics = {k: b for k, b in gate.named_buffers() if k.rpartition(".")[2] in STATISTICS}
    return {"y": y.detach(), "gradient": x.grad, **statistics}


STATISTICS = "running_mean", "running_var"


@pytest.mark.parametrize("size", [1e4, 6e4])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("start", ["identity", "noise"])
@pytest.mark.parametrize("name", list_gates())
def test_finite_wherever_the_exact_result_is(name, start, training, size):
    """Exact: the same rounded numbers in float64. What leaves the range there may do so here."""
    gate, dy = build(name, start).half().train(training), noise(4, *SHAPE).half()
    for kind, signs in MAPS.items():
        x = (size * signs).half()
        exact = run(deepcopy(gate).double(), x.double(), dy.double())
        for key, found in run(deepcopy(gate), x, dy).items():
            wanted = exact[key].abs() < LARGEST
            assert found.dtype == torch.float16
            assert found.isfinite().logical_or(~wanted).all(), f"{key} of {kind}"
