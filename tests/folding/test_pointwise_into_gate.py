"""The 1x1 convolution before a gate's squeeze into the gate's first linear layer."""

import pytest
import torch
from torch import nn

from convgate.folding.pointwise_into_gate import IDENTITY
from convgate.folding.squeeze import IDENTITY as SQUEEZE
from convgate.gates import PooledGate, create_gate, list_gates
from convgate.insertion import Blend, start_as_identity

OPTIONS = {"fca": {"frequencies": 8, "reduction": 4}}
POOLED = {
    name: gate
    for name in list_gates()
    if isinstance(gate := create_gate(name, 128, **OPTIONS.get(name, {})), PooledGate)
}
ENTERED = sorted(name for name, gate in POOLED.items() if gate.first_layer)


def bottleneck(gate, bias=True):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 128, 1, bias=bias), gate)


def fresh(name, **options):
    return create_gate(name, 128, **OPTIONS.get(name, {}), **options)


def test_the_gates_that_begin_with_a_linear_layer():
    assert ENTERED == ["ca", "ca_gn", "se", "seln"]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ENTERED)
def test_equal_and_no_wider_than_the_hidden_layer(name, bias, check, where):
    net = bottleneck(fresh(name), bias)
    hidden = len(net[3].squeeze.weight)
    made, report = check(net, torch.randn(2, 3, 22, 23))
    assert where(report, IDENTITY) == ["3"]
    (layer,) = [m for path, m in made.named_modules() if path.endswith("squeeze")]
    assert layer.weight.shape[:2] == (hidden, 4)
    assert net[3].squeeze.weight.shape[:2] == (hidden, 128)  # the network keeps its own


@pytest.mark.parametrize("name", ["se", "ca"])
def test_equal_without_biases_of_the_gate(name, check, where):
    _, report = check(bottleneck(fresh(name, bias=False), bias=False), torch.randn(2, 3, 22, 23))
    assert where(report, IDENTITY) == ["3"]


@pytest.mark.parametrize("name", ENTERED)
def test_equal_when_blended_in(name, check, where):
    _, report = check(bottleneck(Blend(fresh(name))), torch.randn(2, 3, 22, 23))
    (place,) = where(
        report, IDENTITY
    )  # SELN takes the blend into its norm, so that no wrap is left
    assert place.removesuffix(".gate") == "3"


@pytest.mark.parametrize("name", ["se", "ca"])
def test_equal_when_rescaled(name, check, where):
    _, report = check(bottleneck(start_as_identity(fresh(name))), torch.randn(2, 3, 22, 23))
    assert where(report, IDENTITY) == ["3.gate"]


@pytest.mark.parametrize("name", sorted(set(POOLED) - set(ENTERED)))
def test_not_for_gates_that_begin_otherwise(name, check, where):
    _, report = check(bottleneck(fresh(name)), torch.randn(2, 3, 22, 23))
    assert where(report, SQUEEZE) == ["2"]
    assert where(report, IDENTITY) == []


def test_not_where_the_squeeze_stays(check, where):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 128, 1), nn.ReLU(), fresh("se"))
    _, report = check(net, torch.randn(2, 3, 22, 23))
    assert where(report, IDENTITY) == []


def test_a_gate_in_two_places_has_an_entry_in_each(check, where):
    gate = fresh("se")
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Conv2d(4, 128, 1), gate, nn.Conv2d(128, 4, 3), nn.ReLU(),
        nn.Conv2d(4, 128, 1), gate,
    )  # fmt: skip
    _, report = check(net, torch.randn(2, 3, 22, 23))
    assert len(where(report, IDENTITY)) == 2
