import math
import threading

import pytest

from convgate.errors import CorruptFile, InputError
from convgate.networks.specs import GateSpec, ModelSpec
from convgate.studies.grid import VariantSpec, make_cells, make_grid
from convgate.studies.trials import CellLost, Trials

BASE, SE = VARIANTS = make_grid(["net"], ["se"], ["block_end"])
CELLS = make_cells(VARIANTS, 2)
NET = ModelSpec(name="net")
SPECS = {
    BASE: VariantSpec(model=NET),
    SE: VariantSpec(model=NET, gate=GateSpec(name="se", options={"reduction": 8})),
}
DONE = {"epochs": [{"epoch": 1, "top1": 50.0}, {"epoch": 2, "top1": 60.0}], "seconds": 1.0}


@pytest.fixture
def trials(tmp_path):
    trials = Trials(tmp_path)
    trials.plan(CELLS, '{"a": 1}', SPECS)
    return trials


def states(trials):
    return [record.state for record in trials.records()]


def test_value_and_history_live_in_the_storage(trials, tmp_path):
    job = trials.take()
    trials.finish(job, 60.0, DONE)
    record = Trials(tmp_path).records()[0]
    assert (record.cell, record.state, record.top1) == (CELLS[0], "done", 60.0)
    assert record.outcome == DONE


def test_cells_come_in_order_with_their_options(trials):
    jobs = [trials.take() for _ in CELLS]
    assert [job.cell for job in jobs] == CELLS
    assert [job.spec.options for job in jobs] == [{}, {"reduction": 8}] * 2
    assert trials.take() is None
    assert states(trials) == ["running"] * 4


def test_planning_twice_queues_nothing_twice(trials):
    trials.plan(CELLS, '{"a": 1}', SPECS)
    assert states(trials) == ["waiting"] * 4


def test_a_given_back_cell_waits_again(trials):
    job = trials.take()
    trials.give_back(job)
    assert states(trials) == ["waiting"] * 4
    assert len([trials.take() for _ in CELLS]) == 4


def test_a_cell_whose_lock_is_free_is_taken_over(trials, tmp_path):
    job, other = trials.take(), Trials(tmp_path)
    taken = [other.take()]
    assert taken[0].cell == CELLS[1]  # the first one's process lives
    job.hold.release()  # as the system does for a dead one
    assert states(trials)[0] == "running"
    taken += [other.take() for _ in range(3)]
    assert [job.cell for job in taken] == [*CELLS[1:], CELLS[0]]
    assert other.take() is None


def test_a_death_between_failing_and_queueing_loses_nothing(trials):
    job = trials.take()
    trials._queue = lambda *_: (_ for _ in ()).throw(RuntimeError("killed"))
    with pytest.raises(RuntimeError, match="killed"):
        trials.give_back(job)
    del trials._queue
    job.hold.release()
    assert states(trials) == ["waiting"] * 4
    assert [trials.take().cell for _ in CELLS] == [*CELLS[1:], CELLS[0]]


def test_a_failed_cell_stays_failed(trials):
    trials.fail(trials.take(), "the loss is nan")
    trials.give_back(trials.take())
    trials.plan(CELLS, '{"a": 1}', SPECS)
    assert states(trials) == ["failed"] + ["waiting"] * 3
    assert trials.records()[0].note == "the loss is nan"


def test_a_score_that_is_no_number_is_a_failure(trials, tmp_path):
    """The storage would keep it in a form that it cannot read again."""
    trials.finish(trials.take(), math.nan, DONE)
    record = Trials(tmp_path).records()[0]
    assert (record.state, record.top1) == ("failed", None)
    assert record.note == "its score is not a number"


def test_the_first_end_of_a_cell_stands(trials):
    job = trials.take()
    trials.finish(job, 60.0, DONE)
    trials.finish(job, 70.0, {"seconds": 2.0})
    trials.fail(job, "the loss is nan")
    trials.give_back(job)
    record = trials.records()[0]
    assert (record.state, record.top1, record.outcome) == ("done", 60.0, DONE)
    assert states(trials)[1:] == ["waiting"] * 3


def test_who_was_taken_for_dead_records_nothing(trials, tmp_path):
    job, other = trials.take(), Trials(tmp_path)
    job.hold.release()
    again = [other.take() for _ in CELLS][-1]
    with pytest.raises(CellLost):
        trials.finish(job, 60.0, DONE)
    with pytest.raises(CellLost):
        trials.fail(job, "the loss is nan")
    assert again.cell == job.cell and states(other) == ["running"] * 4


def test_threads_never_share_a_cell(tmp_path):
    Trials(tmp_path).plan(CELLS * 3, "{}", SPECS)
    taken = []

    def work():
        trials = Trials(tmp_path)
        while job := trials.take():
            taken.append(job.cell)
            trials.finish(job, 1.0, DONE)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(CELLS)


def test_another_recipe_is_refused(trials):
    with pytest.raises(InputError, match=r"another recipe \(a was 1, is 2; b was None, is 0\)"):
        trials.plan(CELLS, '{"a": 2, "b": 0}', SPECS)


def test_other_options_are_refused(trials):
    other = VariantSpec(model=NET, gate=GateSpec(name="se"))
    with pytest.raises(
        InputError,
        match=r"trained another se @ block_end \(gate\.options\.reduction was 8, is None",
    ):
        trials.plan(CELLS, '{"a": 1}', SPECS | {SE: other})


def test_another_network_of_the_same_name_is_refused(trials):
    other = VariantSpec(model=ModelSpec(name="net", options={"width": 2}))
    with pytest.raises(InputError, match=r"trained another none \(model\.options\.width was None"):
        trials.plan(CELLS, '{"a": 1}', SPECS | {BASE: other})


def test_a_cell_comes_with_its_network_again_and_again(trials):
    job = trials.take()
    trials.give_back(job)
    found = {r.cell: r.spec for r in trials.records()}
    assert found == {cell: SPECS[cell.variant] for cell in CELLS}
    assert job.spec == SPECS[job.cell.variant]


def test_a_foreign_database_is_refused(tmp_path):
    (tmp_path / "study.db").write_bytes(b"no database at all, only text" * 100)
    with pytest.raises(CorruptFile, match=r"study\.db: not a study.*another folder to --out"):
        Trials(tmp_path)
