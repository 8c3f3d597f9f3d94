"""The network that holds all candidates: fair paths, identity, statistics of one path."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from convgate.gates import GATES
from convgate.insertion.module_tree import MARK
from convgate.searches.paths import NAME, Paths, fresh_statistics, take_path
from convgate.searches.ranking import path_recipe, search_recipe
from convgate.searches.space import make_space
from convgate.train.build import build_model
from convgate.train.recipe import load_recipe


@pytest.fixture
def digits():
    return search_recipe(load_recipe("digits/demo"), 0.2)


def network(recipe, start="depends", model="resnet20"):
    recipe = replace(recipe, model=replace(recipe.model, name=model))
    space = make_space(recipe, ["se", "eca"], at="block_end", start=start)
    return space, build_model(path_recipe(recipe, space), num_classes=10, in_chans=1)


def paths_of(model):
    return [part for part in model.modules() if isinstance(part, Paths)]


def test_every_candidate_is_taken_equally_often_and_a_stage_takes_one(digits):
    _, model = network(digits)
    taken = []
    for paths in paths_of(model):
        for number, candidate in enumerate(paths.candidates):
            candidate.register_forward_hook(
                lambda *_, at=paths, k=number: taken[-1].append((stage(at), k))
            )
    model.train()
    for _ in range(9):
        taken.append([])
        model(torch.randn(2, 1, 8, 8))
    for step in taken:
        assert len(step) == 9 and len(set(step)) == 3  # three blocks a stage, one choice a stage
    for first in (0, 3, 6):
        for at in (1, 2, 3):
            assert {k for step in taken[first : first + 3] for s, k in step if s == at} == {0, 1, 2}


def stage(paths):
    return vars(paths)[MARK].site.stage


def test_the_order_goes_on_where_a_checkpoint_left_it(digits):
    _, model = network(digits)
    model.train()
    for _ in range(4):
        model(torch.randn(2, 1, 8, 8))
    _, other = network(digits)
    other.load_state_dict(model.state_dict())
    turns = [[paths._turn() for paths in paths_of(each.train())] for each in (model, other)]
    assert turns[0] == turns[1]


def test_with_identity_start_every_path_is_the_plain_network(digits):
    space, model = network(digits, start="identity")
    plain = build_model(
        replace(digits, model=replace(digits.model, name="resnet20")), num_classes=10, in_chans=1
    )
    x = torch.randn(2, 1, 8, 8)
    for combination in (space.plain, ("se", "eca", "se"), ("eca", "none", "none")):
        take_path(model, space, combination)
        assert torch.equal(model.eval()(x), plain.eval()(x))


def test_a_path_computes_what_its_gates_alone_do(digits):
    """The same gates with the same numbers, inserted by themselves, give the same output."""
    space, model = network(digits, start="paper")
    combination = ("se", "none", "eca")
    recipe = replace(digits, model=replace(digits.model, name="resnet20"))
    alone = build_model(space.recipe(recipe, combination), num_classes=10, in_chans=1)
    held = model.state_dict()
    own = {}
    for key in alone.state_dict():
        site, _, name = key.partition("gate.")
        number = ("none", *space.gates).index({"1": "se", "3": "eca"}.get(key[5], "none"))
        own[key] = held[f"{site}gate.candidates.{number}.{name}" if name else key]
    alone.load_state_dict(own)
    take_path(model, space, combination)
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(model.eval()(x), alone.eval()(x))


def test_a_candidate_that_does_not_fit_is_the_identity():
    GATES.load(NAME)
    paths = Paths(16, gates=["ela_s", "se"], options={"num_groups": 32})
    assert [type(each).__name__ for each in paths.candidates] == ["Identity", "Identity", "SE"]


def test_fresh_statistics_are_the_mean_over_the_batches():
    norm = nn.BatchNorm2d(3)
    norm(torch.randn(4, 3, 5, 5) + 7)  # of other paths
    batches = torch.randn(6, 4, 3, 5, 5).double()
    with fresh_statistics(norm):
        for x in batches:
            norm.double()(x)
    torch.testing.assert_close(norm.running_mean, batches.mean((0, 1, 3, 4)))
    torch.testing.assert_close(norm.running_var, batches.var((1, 3, 4)).mean(0))
    assert norm.momentum == 0.1


def test_norms_that_are_held_keep_their_statistics():
    norm = nn.BatchNorm2d(3).eval()
    norm.running_mean.fill_(5)
    with fresh_statistics(norm):
        norm(torch.randn(4, 3, 5, 5))
    assert (norm.running_mean == 5).all()
