"""What is timed: networks of the data's classes and size, with gates that have moved."""

from dataclasses import replace

import pytest
import torch

from convgate.errors import InputError
from convgate.insertion.movement import measure_movement
from convgate.measure import timing
from convgate.networks.build import build_network
from convgate.searches import bench as module
from convgate.searches.bench import Bench, Timing, learned
from convgate.searches.space import make_space
from convgate.train.build import build_model
from convgate.train.recipe import load_recipe


@pytest.fixture(scope="module")
def digits():
    recipe = load_recipe("digits/demo")
    return replace(recipe, data=replace(recipe.data, train_count=100), study=None)


@pytest.fixture(scope="module")
def space(digits):
    return make_space(digits, ["se"], at="block_end", start="identity")


def test_combinations_are_timed_beside_the_plain_network(digits, space, monkeypatch):
    monkeypatch.setattr(timing, "is_stable", lambda *_: True)
    report = Bench(digits, space, Timing(fold=True, seconds=0.2)).time(space.singles()[:2])
    assert {row.name for row in report.rows} >= {"none", "1=se", "2=se"}
    assert report.row("none").ratio == 1


def test_no_gate_is_timed_while_it_is_the_identity(digits, space):
    model = build_model(space.recipe(digits, ("se", "se", "se")), num_classes=10, in_chans=1)
    x = torch.randn(4, 1, 8, 8)
    assert max(measure_movement(model, [x]).values()) == 0
    assert min(measure_movement(learned(model), [x]).values()) > 1e-4


def test_a_candidate_that_the_engine_cannot_run_is_named(digits, space, monkeypatch):
    def refuse(card, start, gates, **how):
        if gates:
            raise InputError("no such operator")
        return build_network(card, start, gates, **how)

    monkeypatch.setattr("convgate.train.build.build_network", refuse)
    sentence = "2=se cannot run on engine 'eager' .no such operator.; leave its gate out"
    with pytest.raises(InputError, match=sentence):
        Bench(digits, space, Timing(seconds=0.2)).time([space.single(2, "se")])


def test_the_bench_takes_size_and_classes_from_the_data(digits, space):
    bench = module.Bench(digits, space, Timing())
    assert bench.size == (1, 8, 8) and len(bench.classes) == 10
