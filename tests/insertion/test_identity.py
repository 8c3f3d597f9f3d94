"""How each gate starts as the identity, and what it computes from there."""

import pytest
import torch
from torch import nn

from convgate.gates import create_gate, list_gates
from convgate.insertion import Blend, Rescaled, start_as_identity

# What the gain is follows from the equations with the last layer at zero: sigmoid(0) = 1/2, of two
# factors 1/4, BAM's 1 + sigmoid(0) = 3/2.
GAINS = {
    **dict.fromkeys(["ean", "ean_code", "eca", "fca", "se", "sge", "srm"], 2),
    **dict.fromkeys(["ca", "ca_gn", "cbam", "ela", "ela_b", "ela_l", "ela_s", "ela_t"], 4),
    "bam": 2 / 3,
}
THEMSELVES = {"gct", "grn", "seln"}
BLENDED = {"pdfam", "pdfam_gmm", "sa", "simam"}


def start(name: str) -> nn.Module:
    torch.manual_seed(0)
    return start_as_identity(create_gate(name, 128))


def test_every_gate_starts_in_one_of_three_ways():
    starts = {name: start(name) for name in list_gates()}
    assert {n for n, gate in starts.items() if isinstance(gate, Blend)} == BLENDED
    assert {n: g.gain for n, g in starts.items() if isinstance(g, Rescaled)} == GAINS
    assert starts.keys() - GAINS.keys() - BLENDED == THEMSELVES


@pytest.mark.parametrize("name", GAINS)
@pytest.mark.parametrize("training", [True, False])
def test_a_rescaled_gate_is_the_paper_s_times_its_gain(name, training):
    gate = start(name).double().train(training)
    with torch.no_grad():
        for parameter in gate.parameters():
            parameter.normal_(0.1, 0.5)
    x = torch.randn(3, 128, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(gate(x), GAINS[name] * gate.gate(x))


@pytest.mark.parametrize("name", GAINS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_smallest_numbers_stay_as_they_are(name, dtype):
    """Half of the smallest positive number is zero: the scale is doubled, and not the product."""
    gate, smallest = start(name).to(dtype), torch.finfo(dtype).smallest_normal
    x = smallest * torch.randn(2, 128, 3, 2).sign().to(dtype)
    assert torch.equal(gate(x), x)


def moved_by_one_update(gate: nn.Module, x: torch.Tensor) -> float:
    """Return mean |y - x| / mean |x| after a step of Adam, which moves every number by its rate."""
    target = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam(gate.parameters(), lr=1e-3)
    (gate(x) * target).mean().backward()
    optimizer.step()
    with torch.no_grad():
        return float((gate(x) - x).abs().mean() / x.abs().mean())


@pytest.mark.parametrize("name", ["se", "eca", "ean", "ela", "ca", "cbam"])
def test_the_first_update_moves_it_at_least_as_far_as_a_blend(name):
    x = 1 + torch.randn(4, 128, 6, 5, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    blend = moved_by_one_update(Blend(create_gate(name, 128)), x)
    assert moved_by_one_update(start(name), x) > blend
