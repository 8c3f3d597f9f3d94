"""PdfAM against the normal density, taken from the statistics module of torch."""

import math

import pytest
import torch
from torch.distributions import Normal

from convgate.gates import create_gate


def softplus(v):
    return math.log1p(math.e**v)


def expected(gate, x):
    samples = []
    for sample in x:
        channels = []
        for c, image in enumerate(sample):
            count = image.numel()
            mean = image.sum() / count
            var = ((image - mean) ** 2).sum() / max(count - 1, 1) + 1e-4
            eps, coef, width = (
                torch.log(1 + torch.exp(p[c])) for p in (gate.eps, gate.coef, gate.width)
            )
            density = Normal(mean, var.sqrt()).log_prob(image)
            peak = -0.5 * torch.log(2 * math.pi * var)  # the width bends the exponent, not the peak
            p = torch.exp(peak + width * (density - peak))
            channels.append(image / (1 + eps + coef * p))
        samples.append(torch.stack(channels))
    return torch.stack(samples)


@pytest.mark.parametrize("size", [(5, 4), (1, 2), (2, 1)])
def test_value_and_gradients(size, check_equation, scramble):
    check_equation(scramble(create_gate("pdfam", 4)), torch.randn(2, 4, *size), expected)


def test_one_position_has_no_variance():
    """mu = x and var = 1e-4, so p = 1 / sqrt(2 pi 1e-4)."""
    x = torch.randn(2, 4, 1, 1, dtype=torch.float64)
    peak = 1 / math.sqrt(2 * math.pi * 1e-4)
    scale = 1 / (1 + softplus(0) + softplus(1) * peak)
    torch.testing.assert_close(create_gate("pdfam", 4).double()(x), scale * x)


def test_a_rare_value_keeps_more_of_itself():
    x = torch.tensor([0.1, -0.1, 0.0, 0.1, -0.1, 3.0]).reshape(1, 1, 2, 3)
    scale = create_gate("pdfam", 1).gate(x).flatten()
    assert scale.argmax() == 5


def test_three_parameters_a_channel():
    assert sum(p.numel() for p in create_gate("pdfam", 64).parameters()) == 3 * 64
