"""The mixture form of PdfAM against expectation-maximisation written position by position."""

import math

import pytest
import torch

from convgate.errors import InputError
from convgate.gates import create_gate


def bell(v, mean, var, width=1.0):
    return torch.exp(-width * (v - mean) ** 2 / (2 * var)) / (2 * math.pi * var) ** 0.5


def fit(values, means, steps):
    """EM on one list of numbers; returns the share, mean and variance of each component."""
    k = len(means)
    variances, shares = [torch.ones(()) for _ in means], [torch.tensor(1 / k)] * k
    for _ in range(steps):
        owners = []
        for v in values:
            joint = [shares[j] * bell(v, means[j], variances[j] + 1e-4) for j in range(k)]
            owners.append([one / (sum(joint) + 1e-8) for one in joint])
        totals = [sum(r[j] for r in owners) for j in range(k)]
        means = [
            sum(r[j] * v for r, v in zip(owners, values, strict=True)) / totals[j] for j in range(k)
        ]
        variances = [
            sum(r[j] * (v - means[j]) ** 2 for r, v in zip(owners, values, strict=True)) / totals[j]
            for j in range(k)
        ]
        shares = [totals[j] / len(values) for j in range(k)]
    return shares, means, variances


def expected(gate, x):
    n, c = x.shape[:2]
    torch.manual_seed(7)
    draw = torch.rand(n, c, 1, gate.components, dtype=x.dtype)
    y = []
    for b in range(n):
        for i in range(c):
            values = list(x[b, i].flatten())
            shares, means, variances = fit(values, list(draw[b, i, 0]), gate.steps)
            eps, coef, width = (
                torch.log(1 + torch.exp(p[i])) for p in (gate.eps, gate.coef, gate.width)
            )
            for v in values:
                p = sum(
                    a * bell(v, m, s + 1e-4, width)
                    for a, m, s in zip(shares, means, variances, strict=True)
                )
                y.append(v / (1 + eps + coef * p))
    return torch.stack(y).reshape(x.shape)


def seeded(gate, seed=7):
    gate.register_forward_pre_hook(lambda *_: torch.manual_seed(seed) and None)
    return gate


@pytest.mark.parametrize("options", [{}, {"steps": 1, "components": 3}])
@pytest.mark.parametrize("size", [(3, 4), (1, 1)])
def test_value_and_gradients(options, size, check_equation, scramble):
    gate = seeded(scramble(create_gate("pdfam_gmm", 2, **options)))
    check_equation(gate, torch.randn(2, 2, *size), expected)


def test_the_first_draw_is_its_only_one():
    x = torch.randn(2, 4, 3, 3)
    torch.manual_seed(1)
    create_gate("pdfam_gmm", 4)(x)
    after_gate = torch.rand(3)
    torch.manual_seed(1)
    torch.rand(2, 4, 1, 2)
    assert torch.equal(after_gate, torch.rand(3))


def test_every_forward_draws_anew():
    gate, x = create_gate("pdfam_gmm", 4).eval(), torch.randn(2, 4, 3, 3)
    assert not torch.equal(gate(x), gate(x))


def test_values_out_of_reach_have_no_density():
    """Every density underflows at a distance of 100: s = 1 / (1 + log 2), finite gradients."""
    x = torch.full((1, 1, 2, 2), 100.0).requires_grad_()
    y = create_gate("pdfam_gmm", 1)(x)
    torch.testing.assert_close(y, x / (1 + math.log(2)))
    y.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("distance", [3.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0])
def test_gradients_stay_finite_where_densities_fade(distance):
    x = (distance + torch.randn(2, 4, 3, 3)).requires_grad_()
    create_gate("pdfam_gmm", 4)(x).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("option", ["steps", "components"])
def test_what_it_cannot_take(option):
    with pytest.raises(InputError, match=f"{option}=0 must be 1 or more"):
        create_gate("pdfam_gmm", 8, **{option: 0})
