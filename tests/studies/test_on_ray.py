"""Studies on a real Ray cluster of two nodes, each a process of this machine."""

import contextlib
import json
import os
import random
import signal
import sys
import time
from dataclasses import replace

import pytest

pytest.importorskip("ray")

from convgate.cluster import RayOptions, TrainingCell, Work, open_session, run_cells
from convgate.errors import InputError
from convgate.studies import run_study
from convgate.studies.loop import outcome_of
from convgate.studies.trials import Trials
from convgate.train.fit import fit
from fixtures.on_ray import EPOCHS, measure, patient_fit, study_on_ray, train_a_share
from fixtures.processes import process, two_processes, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(autouse=True)
def _what_nodes_import(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")


@pytest.fixture
def cluster():
    """A head that trains nothing, and two nodes of a core and a small object store each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for name in ("one", "two"):
        add_node(cluster, node_name=name)
    yield cluster
    cluster.shutdown()


def add_node(cluster, **named):
    """Add a node; Ray gives one up that does not start in 30 s, as on a busy machine."""
    for last in (False, False, True):
        try:
            return cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20, **named)
        except Exception:  # Ray has no class for it
            if last:
                raise


def rows(result):
    return {row.label: row.top1 for row in result.rows}


def test_two_nodes_give_what_one_process_gives(cluster, recipe, fake, tmp_path):
    """Three variants, four seeds, real trainings; their runs come back through Ray."""
    recipe = replace(recipe, data=replace(recipe.data, train_count=200))
    grid = {"gates": ["se", "eca"], "seeds": 4, "progress": False, "steps": replace(fake, fit=fit)}
    there = run_study(recipe, tmp_path / "ray", ray=RayOptions(address=cluster.address), **grid)
    here = run_study(recipe, tmp_path / "plain", **grid)
    assert rows(there) == rows(here)
    assert [row.label for row in there.rows] == ["none", "se", "eca"]
    for name in ("weights.safetensors", "last.ckpt", "result.json", "metrics.csv"):
        assert len(list((tmp_path / "ray" / "trials").rglob(name))) == 12


def test_runs_in_a_folder_that_all_nodes_share(cluster, recipe, fake, tmp_path):
    shared, out = tmp_path / "shared", tmp_path / "out"
    one = {"gates": ["se"], "seeds": 1, "progress": False, "steps": replace(fake, fit=fit)}
    short = replace(recipe, schedule=replace(recipe.schedule, epochs=1))
    options = RayOptions(address=cluster.address, storage_path=str(shared))
    result = run_study(short, out, ray=options, **one)
    assert len(list(shared.rglob("last.ckpt"))) == 2
    assert not list(out.rglob("last.ckpt"))  # the driver has what a report needs
    assert len(list(out.rglob("weights.safetensors"))) == 2
    assert result.measured.environment["node"] == os.uname().nodename
    with pytest.raises(InputError, match="--latency-on elsewhere: no node of the cluster, which"):
        run_study(short, out, ray=replace(options, latency_on="elsewhere"), **one)


def test_latency_is_measured_on_the_node_that_is_named(cluster, recipe, fake, tmp_path):
    """Its runs come there through Ray; the driver's node has no core to measure on."""
    steps = replace(fake, fit=patient_fit, measure=measure)
    one = {"gates": ["se"], "seeds": 1, "progress": False, "steps": steps}
    options = RayOptions(address=cluster.address, latency_on="two")
    result = run_study(recipe, tmp_path / "study", ray=options, **one)
    named = next(node for node in cluster.worker_nodes if node._ray_params.node_name == "two")
    assert result.measured.environment["node_id"] == named.node_id
    assert result.measured.environment["runs"] == "2"
    assert not result.measured.environment["folder"].startswith(str(tmp_path))


def test_processes_of_ray_train_share_a_batch(recipe, tmp_path, cluster):
    """Two processes train one cell together, to the last digit as two of torchrun's do."""
    short = replace(recipe, schedule=replace(recipe.schedule, epochs=2))
    options = RayOptions(
        address=cluster.address, processes=2, gpus_per_cell=0, storage_path=str(tmp_path / "runs")
    )
    queue, settled = [("cell", TrainingCell("cell", short))], {}
    with open_session(options, tmp_path / "driver") as session:
        run_cells(
            session,
            lambda: queue.pop() if queue else None,
            settled.__setitem__,
            Work.here(fit, outcome_of),
        )
    with two_processes(tmp_path / "torchrun", train_a_share, short, tmp_path / "run") as both:
        for one in both:
            one.join(300)
            assert one.exitcode == 0
    assert settled["cell"].score == json.loads((tmp_path / "torchrun" / "0.json").read_text())
    assert len(settled["cell"].outcome["epochs"]) == 2


def test_processes_that_train_together_need_one_folder(cluster, tmp_path):
    options = RayOptions(address=cluster.address, processes=2)
    with (
        pytest.raises(InputError, match="a cell of 2 processes needs a folder that all nodes"),
        open_session(options, tmp_path),
    ):
        pass


def test_twenty_deaths_of_nodes_and_drivers_lose_and_double_nothing(cluster, tmp_path):
    """A node dies in mid-cell, or the driver, again and again; cells go on where they were."""
    draw, seeds, out = random.Random(0), 10, tmp_path / "study"
    with contextlib.ExitStack() as drivers:

        def start():
            driver = process(study_on_ray, out, cluster.address, seeds, errors=tmp_path / "errors")
            return drivers.enter_context(driver)

        driver = start()
        for death in range(20):
            before = trained(out)
            wait_for(lambda n=before: trained(out) > n + 2, 600)
            time.sleep(draw.uniform(0, 0.8))
            if death % 3 == 0:
                os.kill(driver.pid, signal.SIGKILL)
                driver.join(60)
                driver = start()
            else:
                node = draw.choice(sorted(cluster.worker_nodes, key=lambda n: n.unique_id))
                cluster.remove_node(node, allow_graceful=False)
                add_node(cluster)
        assert driver.is_alive()  # the study was never done before its last death
        driver.join(1200)
        assert driver.exitcode == 0, (tmp_path / "errors").read_text()
    records = Trials(out).records()
    assert len(records) == 3 * seeds and {record.state for record in records} == {"done"}
    logs = [log.read_text().split() for log in (out / "trials").rglob("epochs.log")]
    assert len(logs) == 3 * seeds
    for log in logs:
        assert sorted(set(map(int, log))) == list(range(1, EPOCHS + 1))
    repeated = sum(len(log) - EPOCHS for log in logs)
    assert repeated <= 2 * 20  # an epoch of each node that a death stopped before it was sent


def trained(out):
    return sum(len(log.read_text().split()) for log in out.rglob("epochs.log"))
