"""FcaNet's gate against the cosine transform written out, pooling included."""

import math

import pytest
import torch
from scipy.fft import dct

from convgate.errors import InputError
from convgate.gates import create_gate
from convgate.gates.fca import dct_basis

# The first and second indices in the order of cfzd/FcaNet, model/layer.py.
PUBLISHED = {
    "top": (
        "00600114513000324635526553342261",
        "01052020060463526333511242113053",
    ),
    "low": (
        "00110221203401301234501234561234",
        "01012012230043154321065432106543",
    ),
    "bottom": (
        "61332412445146256162243355625536",
        "64466314456522514350311242115333",
    ),
}


def published(selection, count):
    return [(int(u), int(v)) for u, v in zip(*PUBLISHED[selection], strict=True)][:count]


def basis_entry(u, v, h, w, height, width):
    """One entry of the orthonormal two-dimensional cosine basis."""
    norm = (1 if u == 0 else 2**0.5) * (1 if v == 0 else 2**0.5) / (height * width) ** 0.5
    along = math.cos(math.pi * u * (h + 0.5) / height), math.cos(math.pi * v * (w + 0.5) / width)
    return along[0] * along[1] * norm


def exact_basis(frequencies, height, width):
    rows, columns = height // 7, width // 7
    return torch.tensor(
        [
            [
                [basis_entry(u * rows, v * columns, h, w, height, width) for w in range(width)]
                for h in range(height)
            ]
            for u, v in frequencies
        ],
        dtype=torch.float64,
    )


def pool(image, size):
    """Average over windows that start at floor(i H / size) and end at ceil((i + 1) H / size)."""
    rows, columns = (
        [(i * side // cells, -(-(i + 1) * side // cells)) for i in range(cells)]
        for side, cells in zip(image.shape, size, strict=True)
    )
    return torch.stack([torch.stack([image[a:b, c:d].mean() for c, d in columns]) for a, b in rows])


def expected(gate, x):
    basis = gate.basis
    part = x.shape[1] // len(basis)
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
        ((9, 30), {"selection": "low", "size": (7, 28)}),
        ((8, 8), {"selection": "bottom", "size": [15, 7]}),
    ],
)
def test_value_and_gradients(size, options, check_equation, scramble):
    gate = scramble(create_gate("fca", 16, reduction=4, **options)).double()
    given = options.get("size", 7)
    sides = (given, given) if isinstance(given, int) else given
    named = published(options.get("selection", "top"), options.get("frequencies", 16))
    exact = exact_basis(named, *sides)
    torch.testing.assert_close(gate.basis, exact, rtol=0, atol=1e-7)  # kept in float32
    gate.basis.copy_(exact)
    check_equation(gate, torch.randn(2, 16, *size), expected)


def test_basis_is_the_orthonormal_cosine_transform():
    """SciPy's transform of a unit impulse gives each column of the basis."""
    along = dct(torch.eye(7, dtype=torch.float64).numpy(), norm="ortho", axis=0)
    along = torch.from_numpy(along)
    every = [(u, v) for u in range(7) for v in range(7)]
    wanted = torch.stack([torch.outer(along[u], along[v]) for u, v in every])
    torch.testing.assert_close(dct_basis(every, 7, 7), wanted.float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("selection", list(PUBLISHED))
@pytest.mark.parametrize("count", [1, 2, 4, 8, 16, 32])
def test_frequencies_are_the_authors(selection, count):
    gate = create_gate("fca", 32, frequencies=count, selection=selection)
    wanted = exact_basis(published(selection, count), 7, 7).float()
    torch.testing.assert_close(gate.basis, wanted, rtol=0, atol=1e-6)
    assert len(set(published(selection, count))) == count


def test_the_zero_frequency_is_seven_times_the_mean():
    torch.testing.assert_close(dct_basis([(0, 0)], 7, 7), torch.full((1, 7, 7), 1 / 7))


def test_parameter_count_has_no_biases():
    assert sum(p.numel() for p in create_gate("fca", 64).parameters()) == 2 * 64 * 4


@pytest.mark.parametrize(
    ("channels", "options", "sentence"),
    [
        (24, {}, "channels=24 .* frequencies=16; use frequencies=12 or frequencies=24"),
        (32, {"frequencies": 33}, "frequencies=33 must be 1 to 32"),
        (32, {"reduction": 0}, "reduction=0 must be 1 or more"),
        (32, {"size": 6}, "size=6 must be 7 or more"),
        (32, {"size": (7, 6)}, r"size=\(7, 6\) must be 7 or more, or two such sides"),
        (32, {"size": (7, 7, 7)}, "or two such sides"),
        (32, {"selection": "bot"}, "unknown selection of FCA 'bot'; did you mean 'bottom'"),
    ],
)
def test_what_it_cannot_take(channels, options, sentence):
    with pytest.raises(InputError, match=sentence):
        create_gate("fca", channels, **options)
