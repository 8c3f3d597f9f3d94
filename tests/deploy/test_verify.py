"""What is compared, and what is refused before anything is written."""

import pytest
import torch
from torch import nn

from convgate.deploy.verify import (
    check_deterministic,
    check_range,
    inputs_to_compare,
    verify,
)
from convgate.errors import InputError

X = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_two_batches_and_two_other_sizes():
    shapes = [tuple(x.shape) for x in inputs_to_compare(X, fixed_size=False)]
    assert len({shape[0] for shape in shapes}) >= 2
    assert len({shape[2:] for shape in shapes}) == 3
    assert {x.shape[2:] for x in inputs_to_compare(X, fixed_size=True)} == {(32, 32)}


def test_the_largest_difference_is_found_and_judged():
    model = nn.Flatten()
    images = [X[:1], X[:2]]
    assert verify("net", lambda x: model(x), model, iter(images), torch.float32) == 0.0
    off = verify("net", lambda x: model(x) * (1 + 5e-5), model, iter(images), torch.float32)
    assert off == pytest.approx(5e-5, rel=1e-2)
    for wrong in (lambda x: model(x) * 1.001, lambda x: model(x) * torch.nan, lambda x: x):
        with pytest.raises(InputError, match="differs from the eager network"):
            verify("net", wrong, model, iter(images), torch.float32)


def test_a_runtime_that_stops_is_one_sentence():
    def run(x):
        raise RuntimeError("Non-zero status code returned while running DFT node. Name:'n' and so")

    with pytest.raises(InputError, match=r"cannot run images of 1 x 3 x 32 x 32 \(DFT node\)"):
        verify("net", run, nn.Flatten(), iter([X[:1]]), torch.float32)


def test_random_numbers_cannot_be_compared():
    check_deterministic("net", nn.Flatten(), X)
    with pytest.raises(InputError, match="draws random numbers"):
        check_deterministic("net", nn.Dropout().train(), X)


def test_random_numbers_count_where_the_output_does_not_show_them():
    class Draws(nn.Module):
        def forward(self, x):
            return x + 0 * torch.rand(1)

    with pytest.raises(InputError, match="draws random numbers"):
        check_deterministic("net", Draws(), X)


class Scaled(nn.Module):
    """A large number between small ones, in no module's output."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return (x * self.factor) / self.factor


def test_the_range_of_every_operator_counts():
    largest = float(X.abs().max())
    assert check_range("net", Scaled(100.0), X) == pytest.approx(100 * largest)
    with pytest.raises(InputError, match=r"net: aten.mul.* more than the 65504 that float16"):
        check_range("net", Scaled(65504.0), X)
    with pytest.raises(InputError, match="reaches nan"):
        check_range("net", Scaled(torch.nan), X)
