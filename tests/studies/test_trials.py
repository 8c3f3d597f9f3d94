import sqlite3
import threading

import pytest

from convgate.errors import CorruptFile, InputError
from convgate.studies.grid import make_cells, make_grid
from convgate.studies.network import Network
from convgate.studies.trials import Store
from convgate.train.recipe import GateSpec, ModelSpec

BASE, SE = VARIANTS = make_grid(["net"], ["se"], ["block_end"])
CELLS = make_cells(VARIANTS, 2)
NET = ModelSpec(name="net")
NETWORKS = {
    BASE: Network(model=NET),
    SE: Network(model=NET, gate=GateSpec(name="se", options={"reduction": 8})),
}
DONE = {"epochs": [{"epoch": 1, "top1": 50.0}, {"epoch": 2, "top1": 60.0}], "seconds": 1.0}


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    store.plan(CELLS, '{"a": 1}', NETWORKS)
    return store


def states(store):
    return [record.state for record in store.records()]


def test_values_and_history_live_in_the_storage(store, tmp_path):
    job = store.take()
    store.finish(job, 60.0, DONE)
    record = Store(tmp_path).records()[0]
    assert (record.cell, record.state, record.top1) == (CELLS[0], "done", 60.0)
    assert record.outcome == DONE
    with sqlite3.connect(tmp_path / "study.db") as db:
        values = db.execute("select step, intermediate_value from trial_intermediate_values")
        assert values.fetchall() == [(1, 50.0), (2, 60.0)]
    db.close()


def test_cells_come_in_order_with_their_options(store):
    jobs = [store.take() for _ in CELLS]
    assert [job.cell for job in jobs] == CELLS
    assert [job.options for job in jobs] == [{}, {"reduction": 8}] * 2
    assert store.take() is None
    assert states(store) == ["running"] * 4


def test_planning_twice_queues_nothing_twice(store):
    store.plan(CELLS, '{"a": 1}', NETWORKS)
    assert states(store) == ["waiting"] * 4


def test_a_given_back_cell_waits_again(store):
    job = store.take()
    store.give_back(job)
    assert states(store) == ["waiting"] * 4
    assert len([store.take() for _ in CELLS]) == 4


def test_a_cell_whose_lock_is_free_goes_back(store, tmp_path):
    job = store.take()
    assert Store(tmp_path).mend() == 0  # its process lives
    job.lock.release()  # as the system does for a dead one
    assert states(store)[0] == "running"
    assert Store(tmp_path).mend() == 1
    assert states(store) == ["waiting"] * 4


def test_a_death_between_failing_and_queueing_loses_nothing(store):
    job = store.take()
    store._queue = lambda *_: (_ for _ in ()).throw(RuntimeError("killed"))
    with pytest.raises(RuntimeError, match="killed"):
        store.give_back(job)
    del store._queue
    job.lock.release()
    store.mend()
    assert states(store) == ["waiting"] * 4
    assert [store.take().cell for _ in CELLS] == [*CELLS[1:], CELLS[0]]


def test_a_failed_cell_stays_failed(store):
    store.fail(store.take(), "the loss is nan")
    store.mend()
    store.plan(CELLS, '{"a": 1}', NETWORKS)
    assert states(store) == ["failed"] + ["waiting"] * 3
    assert store.records()[0].note == "the loss is nan"


def test_threads_never_share_a_cell(tmp_path):
    Store(tmp_path).plan(CELLS * 3, "{}", NETWORKS)
    taken = []

    def work():
        store = Store(tmp_path)
        while job := store.take():
            taken.append(job.cell)
            store.finish(job, 1.0, DONE)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(CELLS)


def test_another_recipe_is_refused(store):
    with pytest.raises(InputError, match=r"another recipe \(a was 1, is 2; b was None, is 0\)"):
        store.plan(CELLS, '{"a": 2, "b": 0}', NETWORKS)


def test_other_options_are_refused(store):
    other = Network(model=NET, gate=GateSpec(name="se"))
    with pytest.raises(InputError, match=r"trained 'se' with options \{'reduction': 8\}, not \{\}"):
        store.plan(CELLS, '{"a": 1}', NETWORKS | {SE: other})


def test_another_network_of_the_same_name_is_refused(store):
    other = Network(model=ModelSpec(name="net", options={"width": 2}))
    with pytest.raises(InputError, match=r"trained another none \(model\.options\.width was None"):
        store.plan(CELLS, '{"a": 1}', NETWORKS | {BASE: other})


def test_a_cell_comes_with_its_network_again_and_again(store):
    job = store.take()
    store.give_back(job)
    found = {r.cell: r.network for r in store.records()}
    assert found == {cell: NETWORKS[cell.variant] for cell in CELLS}
    assert job.network == NETWORKS[job.cell.variant]


def test_a_foreign_database_is_refused(tmp_path):
    (tmp_path / "study.db").write_bytes(b"no database at all, only text" * 100)
    with pytest.raises(CorruptFile, match=r"study\.db: not a study.*another folder to --out"):
        Store(tmp_path)
