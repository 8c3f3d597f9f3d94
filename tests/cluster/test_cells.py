"""Cells on a Ray of this machine: one start for all that is tested here."""

import os
import sys
from dataclasses import replace
from functools import partial

import pytest

pytest.importorskip("ray")

from convgate.cluster import RayOptions, TrainingCell, Work, open_session, run_cells
from convgate.errors import InputError
from convgate.studies.grid import make_cells, make_grid
from convgate.studies.loop import Progress
from convgate.studies.on_ray import measure_on_ray, train_on_ray
from convgate.studies.plan import make_plan
from convgate.studies.trials import Trials
from convgate.train.fit import fit
from convgate.train.recipe import load_recipe
from fixtures.fake_study import fake_fit, fake_measure
from fixtures.on_ray import moody_fit, say

pytestmark = pytest.mark.slow  # Ray ends its driver's process where it fails, here pytest's


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # what the nodes import
    with open_session(RayOptions(), tmp_path_factory.mktemp("driver")) as session:
        yield session


def cells(count):
    recipe = load_recipe("digits/demo")
    made = make_cells(make_grid([recipe.model.name], ["se"], ["block_end"])[:1], count)
    return {
        f"cell {cell.seed}": TrainingCell(
            cell.folder, replace(recipe, run=replace(recipe.run, seed=cell.seed))
        )
        for cell in made
    }


def run(session, waiting, work):
    queue, settled = list(waiting.items()), {}
    worked = run_cells(session, lambda: queue.pop(0) if queue else None, settled.__setitem__, work)
    return worked, settled


def test_every_cell_is_settled_once(session):
    worked, settled = run(session, cells(5), Work.here(fake_fit, say))
    assert worked and sorted(settled) == [f"cell {seed}" for seed in range(5)]
    scores = [fake_fit(c.recipe, session.runs / "plain").score for c in cells(5).values()]
    assert [settled[f"cell {seed}"].score for seed in range(5)] == scores
    assert run(session, {}, Work.here(fake_fit, say)) == (False, {})


def test_a_diverged_cell_has_a_note_and_the_callers_error_ends_it(session):
    waiting = cells(3)
    _, settled = run(session, dict(list(waiting.items())[:2]), Work.here(moody_fit, say))
    assert settled["cell 0"].score is not None
    assert (settled["cell 1"].score, settled["cell 1"].note) == (
        None,
        "the loss is nan in epoch 1, step 7",
    )
    with pytest.raises(InputError, match="the data is gone"):
        run(session, {"cell 2": waiting["cell 2"]}, Work.here(moody_fit, say))


def test_a_gate_of_a_module_that_a_node_lacks_is_named(session):
    with pytest.raises(InputError, match="no_such_gates, which has a gate of the study"):
        run(session, cells(1), Work.here(fake_fit, say, ("no_such_gates",)))


def test_a_study_on_ray_gives_what_one_process_gives(session, recipe, tmp_path, capfd):
    """Real trainings, to the last digit; this process alone writes the list of runs."""
    short = replace(recipe, schedule=replace(recipe.schedule, epochs=1))
    plan = make_plan(short, {"gates": ["se"], "seeds": 1})
    trials = Trials(tmp_path)
    trials.plan(plan.cells, "{}", plan.networks)
    assert train_on_ray(session, trials, short, fit, Progress())
    records = trials.records()
    for record in records:
        own = replace(
            short,
            model=record.spec.model,
            gate=record.spec.gate,
            run=replace(short.run, seed=record.cell.seed),
        )
        assert record.top1 == fit(own, tmp_path / "plain" / record.cell.folder).score
        assert str(tmp_path / "trials") in record.outcome["place"]
    assert "[2/2]" in capfd.readouterr().err
    assert not train_on_ray(session, trials, short, fit, Progress(False))


def test_what_a_node_lacks_is_said_with_its_name(session, tmp_path):
    session.check([tmp_path])
    name = session.find(None)["NodeManagerHostname"]
    with pytest.raises(InputError, match=rf"^node \S+ .*has no {tmp_path}/data; put it there"):
        session.check([tmp_path / "data"])
    assert session.find(name)["NodeID"] == session.here
    with pytest.raises(InputError, match="--latency-on nowhere: no node of the cluster"):
        session.find("nowhere")
    greedy = replace(session.options, cpus_per_cell=1e6)
    session.options, own = greedy, session.options
    with pytest.raises(InputError, match=r"no cell with 1e\+06 cores and 0 GPUs fits the cluster"):
        session.check([])
    session.options = own


def test_a_node_that_leaves_while_it_is_asked_lacks_nothing(session, monkeypatch):
    gone = {**session.find(None), "NodeID": "ab" * 28}
    monkeypatch.setattr(session, "nodes", lambda: [gone])
    session.check([])


def test_latency_is_measured_alone_and_the_report_says_where(session, recipe, tmp_path):
    step = measure_on_ray(session, partial(fake_measure))
    measured = step(recipe, [], tmp_path, None)
    assert measured.environment == {"device": "cpu", "node": os.uname().nodename}
