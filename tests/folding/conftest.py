"""Networks of a few layers in float64, with numbers that hide nothing, and their folded copies."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from convgate.folding import FoldReport, fold, folded

EXACT = 1e-12


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def scrambled(net: nn.Module) -> nn.Module:
    """Give every parameter and statistic a random value."""
    net.double()
    with torch.no_grad():
        for name, value in [*net.named_parameters(), *net.named_buffers()]:
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif value.is_floating_point() and "basis" not in name:
                value.normal_(0.1, 0.5)
    return net.eval()


def check_fold(net: nn.Module, x: Tensor, **options: str) -> tuple[nn.Module, FoldReport]:
    """Fold a scrambled network, compare it with the plain one in float64, return it and the report.

    The comparison uses another image than the one that the fold verified itself with, and another
    batch.
    """
    scrambled(net)
    other = torch.randn(3, *x.shape[1:])
    before = copy.deepcopy(net.state_dict())
    expected = net(other.clone())
    made = fold(net, x, **options)
    assert list(net.state_dict()) == list(before)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name
    difference = (made(other.clone()) - expected).norm() / expected.norm()
    assert difference < EXACT
    return made, folded(made)


@pytest.fixture
def check() -> Callable[..., tuple[nn.Module, FoldReport]]:
    """Return `check_fold`."""
    return check_fold


@pytest.fixture
def scramble() -> Callable[[nn.Module], nn.Module]:
    """Return `scrambled`."""
    return scrambled


class Branch(nn.Module):
    """Steps around a shortcut: x + f(x), with an activation after the sum unless told otherwise."""

    def __init__(self, *steps: nn.Module, act: bool = True) -> None:
        super().__init__()
        self.steps = nn.Sequential(*steps)
        self.act = nn.ReLU(inplace=True) if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.steps(x) + x)


@pytest.fixture
def branch() -> type[Branch]:
    """Return the class of blocks x + f(x)."""
    return Branch


def places(report: FoldReport, identity: str) -> list[str]:
    """Return where an identity was applied."""
    return [fold.path for fold in report.folds if fold.identity == identity]


@pytest.fixture
def where() -> Callable[[FoldReport, str], list[str]]:
    """Return `places`."""
    return places
