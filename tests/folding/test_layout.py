"""The order of axes around a gate between linear layers."""

import pytest
import timm
import torch
from torch import nn

from convgate.folding.layout import IDENTITY
from convgate.folding.steps import permutation
from convgate.insertion import insert
from convgate.models.selnext_block import BlockOptions, SELNeXtBlock


def block(gate="seln", **options):
    return SELNeXtBlock(32, BlockOptions(gate=gate, gate_options=options))


def layers(made, kind):
    called = [node.target for node in made.graph.nodes if node.op == "call_module"]
    return [name for name in called if isinstance(made.get_submodule(name), kind)]


def permutations(made, of_maps):
    steps = [node for node in made.graph.nodes if permutation(node)]
    return [node for node in steps if (node.meta["shape"][1:3] != (1, 1)) == of_maps]


@pytest.mark.parametrize(
    ("gate", "options"), [("seln", {}), ("ca", {}), ("ela", {"num_groups": 8}), ("srm", {})]
)
def test_convolutions_on_a_map(gate, options, check, where):
    made, report = check(block(gate, **options), torch.randn(2, 32, 9, 8))
    assert len(where(report, IDENTITY)) >= 1
    assert len(layers(made, nn.Conv2d)) >= 3
    assert not any("fc" in name for name in layers(made, nn.Linear))
    assert permutations(made, of_maps=True) == []


def test_linear_layers_on_a_few_positions(check, where):
    made, report = check(block(), torch.randn(2, 32, 2, 2))
    assert len(where(report, IDENTITY)) == 1
    assert sum("fc" in name for name in layers(made, nn.Linear)) == 2
    # There before the first linear layer, the view that is pooled, and back after the second.
    assert len(permutations(made, of_maps=True)) == 3


def test_a_norm_over_channels_keeps_its_order(check):
    net = nn.Sequential(timm.models.convnext.ConvNeXtBlock(32))
    insert(net, "se", at="hidden", reduction=4)
    made, _ = check(net, torch.randn(2, 32, 9, 8))
    assert len(permutations(made, of_maps=True)) == 2  # around the layer norm alone


def test_nothing_is_done_without_a_gate(check, where):
    made, report = check(timm.models.convnext.ConvNeXtBlock(32), torch.randn(2, 32, 9, 8))
    assert where(report, IDENTITY) == []
    assert sum("fc" in name for name in layers(made, nn.Linear)) == 2


def test_not_for_a_map_of_its_own(check, where):
    made, report = check(block("simam"), torch.randn(2, 32, 9, 8))
    assert where(report, IDENTITY) == []
    assert sum("fc" in name for name in layers(made, nn.Linear)) == 2
