"""How far gates stand from the identity, against sums over what they receive."""

import pytest
import torch
from torch import nn

from convgate.insertion import describe_movement, insert, inserted, measure_movement

X = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def gated(backbone, gate, start="identity"):
    torch.manual_seed(0)
    net = backbone("resnet_cifar")
    insert(net, gate, at="block_end", start=start)
    return net


def test_the_identity_does_not_move(backbone):
    net = gated(backbone, "se")
    assert measure_movement(net, [X]) == {path: 0.0 for path, _, _ in inserted(net)}


def test_half_a_scale_moves_by_half(backbone):
    net = gated(backbone, "eca", "paper")
    for _, gate, _ in inserted(net):
        nn.init.zeros_(gate.conv.weight)  # sigmoid(0) everywhere
    moved = measure_movement(net, X.split(2))
    assert len(moved) == 3 and set(moved.values()) == {0.5}


def test_positions_count_by_their_size_and_a_shift_counts(backbone):
    """GRN with gamma 0 adds beta: sum |beta| over sum |x|, of what the first gate receives."""
    net = gated(backbone, "grn").eval()
    path, gate, _ = next(iter(inserted(net)))
    nn.init.constant_(gate.beta, -0.25)
    seen = []
    gate.register_forward_hook(lambda gate, args, y: seen.append(args[0].double()))
    moved = measure_movement(net, X.split(2))
    x = torch.cat(seen)
    assert moved[path] == pytest.approx(0.25 * x.numel() / float(x.abs().sum()))


def test_the_network_stays_as_it_was(backbone):
    net = gated(backbone, "cbam").train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    measure_movement(net, [X])
    assert net.training
    assert not any(gate._forward_hooks for _, gate, _ in inserted(net))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert measure_movement(backbone("resnet_cifar"), [X]) == {}


@pytest.mark.parametrize(
    ("moved", "sentence"),
    [
        ({}, ""),
        ({"a": 0.5, "b": 0.1}, "the gates change their input by 30 %"),
        ({"a": 0.5, "b": 0.003}, "the gates change their input by 25 %; 1 of 2 did not act"),
        ({"a": 0.001, "b": 0.002}, "the gates did not act: they change their input by 0.15 %"),
    ],
)
def test_in_words(moved, sentence):
    assert describe_movement(moved) == sentence
