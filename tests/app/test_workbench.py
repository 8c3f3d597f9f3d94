"""What stands beside what, what it says, and what gates cost."""

import io

import pytest
import torch

from convgate.app import open_workbench
from convgate.app.workbench import MAX_COLUMNS, sample_pictures
from convgate.errors import InputError
from convgate.networks import save_network


def test_a_lone_network_gets_a_gate_beside_it_and_both_say_the_same(bench, noise):
    """The gate starts as the identity, and the fold computes the same."""
    labels = [network.label for network in bench.networks]
    assert labels == ["resnet8", "resnet8 + eca", "resnet8 + eca folded"]
    plain, gated, folded = bench.see(noise)
    assert plain["rows"] == gated["rows"] == folded["rows"]
    assert [amount[-1] for _, amount in plain["rows"]] == ["%"] * 5
    assert plain["scales"] is None
    assert gated["scales"].startswith("data:image/svg+xml;base64,")
    for said in (plain, gated, folded):
        assert said["map"].startswith("data:image/png;base64,")
        assert said["note"] == ""


def test_networks_with_gates_are_followed_by_their_folded_copies(small, weights, tmp_path):
    card, model = small("se")
    gated = tmp_path / "gated.safetensors"
    save_network(gated, model.state_dict(), card)
    bench = open_workbench([str(weights), str(gated)], seconds=0.05)
    names = ["resnet8", "resnet8 + se", "resnet8 + se folded"]
    assert [network.label for network in bench.networks] == names
    assert [row.name for row in bench.latency.rows] == names


def test_scales_are_drawn_only_where_a_gate_gives_some(small, noise, tmp_path):
    """A fold that takes a gate apart leaves nothing to draw."""
    card, model = small("se")
    gated = tmp_path / "gated.safetensors"
    save_network(gated, model.state_dict(), card)
    said = open_workbench([str(gated)], seconds=0.05).see(noise)
    assert [answer["scales"] is None for answer in said] == [False, True]


@pytest.mark.parametrize(
    ("gates", "params"),
    [
        ({}, 0),
        ({2: "eca"}, 3),  # one block of 32 channels: a kernel of 3
        ({1: "eca", 2: "se"}, 3 + (32 * 2 + 2) + (2 * 32 + 32)),  # 32 / 16 = 2 hidden
    ],
)
def test_the_cost_of_gates_is_their_own(bench, gates, params):
    cost = bench.cost(gates)
    assert cost["params"] == f"{params:+,}"
    assert cost["latency"].endswith("]") and "x [" in cost["latency"]
    assert bench.cost(gates) is cost  # measured once
    for stage, gate in gates.items():
        assert f'{stage} = "{gate}"' in cost["recipe"]


def test_moving_gates_leaves_the_networks_alone(bench, noise):
    before = {k: v.clone() for k, v in bench.plain.state_dict().items()}
    bench.cost({3: "seln"})
    after = bench.plain.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize(
    ("gates", "sentence"),
    [
        ({9: "se"}, "unknown stage '9'"),
        ({1: "see"}, "unknown gate 'see'; did you mean 'se'?"),
    ],
)
def test_what_does_not_exist_is_said(bench, gates, sentence):
    with pytest.raises(InputError, match=sentence):
        bench.cost(gates)


def test_a_damaged_picture_is_said(bench, noise):
    file = io.BytesIO()
    noise.save(file, "PNG")
    for data in (b"", b"no picture", file.getvalue()[:90]):
        with pytest.raises(InputError, match=r"this file: cannot be read .*choose another picture"):
            bench.see_file(data)


def test_too_many_networks_or_random_ones_are_refused(weights):
    with pytest.raises(InputError, match="5 networks are given; the page holds 4 at most"):
        open_workbench([str(weights)] * (MAX_COLUMNS + 1))
    with pytest.raises(InputError, match="resnet8: its weights are random"):
        open_workbench(["resnet8"])


def test_examples_come_from_a_folder_or_from_scikit_learn(picture):
    assert [name for name, _ in sample_pictures(None)] == ["china.jpg", "flower.jpg"]
    ((name, found),) = sample_pictures(picture.parent)
    assert (name, found.size) == ("photo.png", (48, 40))
