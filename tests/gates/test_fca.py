"""FcaNet's gate against the cosine transform written out, pooling included."""

import math

import pytest
import torch
from scipy.fft import dct

from convgate.errors import InputError
from convgate.gates import create_gate
from convgate.gates.fca import TOP, dct_basis


def basis_entry(u, v, h, w, size):
    """One entry of the orthonormal two-dimensional cosine basis."""
    norm = (1 if u == 0 else 2**0.5) * (1 if v == 0 else 2**0.5) / size
    return (
        math.cos(math.pi * u * (h + 0.5) / size) * math.cos(math.pi * v * (w + 0.5) / size) * norm
    )


def exact_basis(frequencies, size):
    step = size // 7
    return torch.tensor(
        [
            [
                [basis_entry(u * step, v * step, h, w, size) for w in range(size)]
                for h in range(size)
            ]
            for u, v in TOP[:frequencies]
        ],
        dtype=torch.float64,
    )


def pool(image, size):
    """Average over windows that start at floor(i H / size) and end at ceil((i + 1) H / size)."""
    rows, columns = (
        [(i * side // size, -(-(i + 1) * side // size)) for i in range(size)]
        for side in image.shape
    )
    return torch.stack([torch.stack([image[a:b, c:d].mean() for c, d in columns]) for a, b in rows])


def expected(gate, x):
    frequencies = len(gate.basis)
    basis = exact_basis(frequencies, gate.size)
    part = x.shape[1] // frequencies
    samples = []
    for sample in x:
        z = torch.stack(
            [(pool(image, gate.size) * basis[c // part]).sum() for c, image in enumerate(sample)]
        )
        s = gate.excite.weight @ (gate.squeeze.weight @ z).clamp(min=0)
        samples.append(sample / (1 + torch.exp(-s))[:, None, None])
    return torch.stack(samples)


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((7, 7), {}),
        ((5, 9), {}),
        ((1, 1), {"frequencies": 4}),
        ((6, 6), {"frequencies": 8, "size": 14}),
    ],
)
def test_value_and_gradients(size, options, check_equation, scramble):
    gate = scramble(create_gate("fca", 16, reduction=4, **options)).double()
    exact = exact_basis(len(gate.basis), gate.size)
    torch.testing.assert_close(gate.basis, exact, rtol=0, atol=1e-7)  # kept in float32
    gate.basis.copy_(exact)
    check_equation(gate, torch.randn(2, 16, *size), expected)


def test_basis_is_the_orthonormal_cosine_transform():
    """SciPy's transform of a unit impulse gives each column of the basis."""
    along = dct(torch.eye(7, dtype=torch.float64).numpy(), norm="ortho", axis=0)
    along = torch.from_numpy(along)
    wanted = torch.stack([torch.outer(along[u], along[v]) for u, v in TOP])
    torch.testing.assert_close(dct_basis(32, 7), wanted.float(), rtol=0, atol=1e-6)


def test_top_frequencies_are_32_different_ones_with_the_mean_first():
    assert len(set(TOP)) == 32
    assert TOP[0] == (0, 0)
    assert all(0 <= u < 7 and 0 <= v < 7 for u, v in TOP)


def test_the_zero_frequency_is_seven_times_the_mean():
    torch.testing.assert_close(dct_basis(1, 7), torch.full((1, 7, 7), 1 / 7))


def test_parameter_count_has_no_biases():
    assert sum(p.numel() for p in create_gate("fca", 64).parameters()) == 2 * 64 * 4


@pytest.mark.parametrize(
    ("channels", "options", "sentence"),
    [
        (24, {}, "channels=24 .* frequencies=16; use frequencies=12 or frequencies=24"),
        (32, {"frequencies": 33}, "frequencies=33 must be 1 to 32"),
        (32, {"reduction": 0}, "reduction=0 must be 1 or more"),
        (32, {"size": 6}, "size=6 must be 7 or more"),
    ],
)
def test_what_it_cannot_take(channels, options, sentence):
    with pytest.raises(InputError, match=sentence):
        create_gate("fca", channels, **options)
