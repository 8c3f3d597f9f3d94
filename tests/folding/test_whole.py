"""A folded copy says of every gate what became of it, and other tools can trace it again."""

import copy
import pickle

import pytest
import timm
import torch
from torch import nn

from convgate import create_model, fold, insert
from convgate.errors import InputError
from convgate.folding import folded
from convgate.folding.gates import ALONE
from convgate.gates import list_gates
from convgate.insertion import inserted

FITTED = {"sa": {"groups": "<=8"}, "sge": {"groups": "<=8"}, "fca": {"frequencies": "<=16"}} | {
    name: {"num_groups": "<=16"} for name in ("ela", "ela_t", "ela_b", "ela_s", "ela_l")
}
SMALL = {"convnext_atto": {"depths": (1, 1, 1, 1)}}


def gated(name, gate, **options):
    torch.manual_seed(0)
    model = timm.create_model(name, **SMALL.get(name, {})).eval()
    insert(model, gate, **options, **FITTED.get(gate, {}))
    return model


def paths(model):
    return {path for path, _, _ in inserted(model)}


def told(copy):
    report = folded(copy)
    return [note.path for note in (*report.folds, *report.kept)]


@pytest.mark.parametrize("start", ["identity", "paper"])
@pytest.mark.parametrize(("name", "at"), [("resnet10t", "block_end"), ("convnext_atto", "hidden")])
@pytest.mark.parametrize("gate", list_gates())
def test_every_gate_is_folded_or_kept_for_a_reason(gate, name, at, start):
    model = gated(name, gate, at=at, start=start)
    notes = told(fold(model, torch.randn(1, 3, 32, 32)))
    lost = [p for p in paths(model) if not any(f"{n}.".startswith(f"{p}.") for n in notes)]
    assert lost == []


def test_a_gate_without_a_fold_says_so():
    model = gated("nf_resnet26", "se", start="paper")
    report = folded(fold(model, torch.randn(1, 3, 64, 64)))
    assert {kept.path for kept in report.kept} == paths(model)
    assert {kept.reason for kept in report.kept} == {f"SE: {ALONE}"}


def test_a_scaled_convolution_names_the_gate():
    model = gated("resnet26t", "se", at="spatial", start="paper")
    notes = told(fold(model, torch.randn(1, 3, 64, 64), scale="weights"))
    assert paths(model) <= {*notes}


@pytest.mark.parametrize("gate", list_gates())
def test_symbolic_trace_takes_a_folded_copy(gate):
    folded_copy = fold(gated("resnet10t", gate, start="paper"), torch.randn(1, 3, 64, 64))
    again = torch.fx.symbolic_trace(folded_copy)
    x = torch.randn(2, 3, 64, 64)
    torch.manual_seed(0)
    expected = folded_copy(x)
    for twin in (again, copy.deepcopy(folded_copy), pickle.loads(pickle.dumps(folded_copy))):
        torch.manual_seed(0)  # for gates that draw numbers
        assert torch.equal(twin(x), expected)


@pytest.mark.parametrize("name", ["selnext_atto", "mobilenext", "hornet_tiny"])
def test_symbolic_trace_takes_our_networks_folded(name):
    folded_copy = fold(create_model(name), torch.randn(1, 3, 64, 64))
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(torch.fx.symbolic_trace(folded_copy)(x), folded_copy(x))


class Levels(nn.Module):
    """Gives its maps as a list, whose means take their input by name; ``only`` leaves some out."""

    def __init__(self, only):
        super().__init__()
        self.layers, self.only = nn.ModuleList([nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)]), only

    def forward(self, x):
        maps = [x := layer(x) for layer in self.layers]
        maps.append(torch.mean(input=x, dim=(2, 3), keepdim=True))
        return [y for y in maps if isinstance(y, self.only)]


def test_a_network_that_returns_several_maps_is_verified_on_all():
    net, x = Levels(object).eval(), torch.randn(2, 3, 8, 8)
    for got, expected in zip(fold(net, x)(x), net(x), strict=True):
        torch.testing.assert_close(got, expected)


def test_a_graph_that_loses_what_the_network_returns_is_refused():
    with pytest.raises(InputError, match="returns 0 of its 3 tensors, so it cannot be verified"):
        fold(Levels(torch.Tensor).eval(), torch.randn(2, 3, 8, 8))
