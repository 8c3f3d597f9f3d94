"""The squeeze before the 1x1 convolution."""

import pytest
import torch
from torch import nn

from convgate.folding.squeeze import IDENTITY, TOO_COSTLY
from convgate.gates import PooledGate, create_gate, list_gates
from convgate.insertion import Blend

OPTIONS = {"sa": {"groups": 4}, "sge": {"groups": 8}, "fca": {"frequencies": 8, "reduction": 4}}
POOLED = [name for name in list_gates() if isinstance(create_gate(name, 128), PooledGate)]


def gate(name):
    return create_gate(name, 128, **OPTIONS.get(name, {}))


def bottleneck(name, *between):
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.Conv2d(2, 128, 1), *between, gate(name))


def test_who_claims_to_pool():
    plain = {"bam", "cbam", "ean", "ean_code", "gct", "grn", "pdfam", "pdfam_gmm", "sa", "sge"}
    assert set(list_gates()) - set(POOLED) == plain | {"simam", "srm"}


@pytest.mark.parametrize("name", POOLED)
def test_equal_for_every_gate_that_pools(name, check, where):
    x = torch.randn(2, 3, 22, 23)
    _, report = check(bottleneck(name), x)
    assert where(report, IDENTITY) == ["1"]
    _, report = check(bottleneck(name, nn.BatchNorm2d(128)), x)
    assert where(report, IDENTITY) == ["1"]


@pytest.mark.parametrize("name", ["se", "ca"])
def test_equal_when_blended_in(name, check, where):
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Conv2d(2, 128, 1), Blend(gate(name)))
    _, report = check(net, torch.randn(2, 3, 22, 23))
    assert where(report, IDENTITY) == ["1"]


@pytest.mark.parametrize("name", sorted(set(list_gates()) - set(POOLED) - {"pdfam_gmm"}))
def test_not_for_other_gates(name, check, where):
    _, report = check(bottleneck(name), torch.randn(2, 3, 9, 8))
    assert where(report, IDENTITY) == []
    assert [kept.path for kept in report.kept] == ["2"]


@pytest.mark.parametrize("between", [nn.ReLU(), nn.MaxPool2d(3, 1, 1), nn.LeakyReLU()])
def test_not_over_what_is_not_linear(between, check, where):
    _, report = check(bottleneck("se", between), torch.randn(2, 3, 9, 8))
    assert where(report, IDENTITY) == []


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(8, 128, 3),
        nn.Conv2d(8, 128, 1, 2),
        nn.Conv2d(8, 128, 1, padding=1),
        nn.Conv2d(8, 128, 1, groups=2),
    ],
)
def test_not_after_other_convolutions(conv, check, where):
    _, report = check(nn.Sequential(conv, gate("se")), torch.randn(2, 8, 9, 8))
    assert where(report, IDENTITY) == []


def test_not_where_it_costs_more(check, where):
    net = nn.Sequential(nn.Conv2d(256, 128, 1), gate("se"))  # what precedes is wider
    _, report = check(net, torch.randn(1, 256, 9, 8))
    assert where(report, IDENTITY) == []
    assert report.kept[0].reason == TOO_COSTLY


class Own(nn.Module):
    """Attention that a network has written itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(4, 32, 1), nn.Conv2d(32, 32, 1)

    def forward(self, x):
        x = self.conv(x)
        return x * torch.sigmoid(self.fc(x.mean((2, 3), keepdim=True)))


def test_a_network_s_own_mean(check, where):
    _, report = check(Own(), torch.randn(2, 4, 9, 8))
    assert where(report, IDENTITY) == ["conv"]
