"""A study on a real PostgreSQL server: several folders, death, and a server that goes away."""

import contextlib
import gc
import os
import random
import shutil
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Thread

import pytest

from convgate.errors import InputError
from convgate.studies import postgres as hearts
from convgate.studies import run_study
from convgate.studies.measurement import measure_runs
from convgate.studies.trials import CellLost, Trials
from convgate.train.fit import fit
from fixtures.fast_hearts import DOUBLED, VARIANTS, fast_hearts, study_of_slow_cells
from fixtures.postgres import PASSWORD, PLAIN
from fixtures.processes import process, wait_for
from studies.test_trials import CELLS as FOUR
from studies.test_trials import DONE, SPECS, states

ENCRYPTION = {(80877103).to_bytes(4, "big"), (80877104).to_bytes(4, "big")}  # asked for: TLS, GSS


@pytest.fixture(autouse=True)
def _hearts_that_beat_fast(monkeypatch):
    for name in ("HEARTBEAT_S", "GRACE_S"):
        monkeypatch.setattr(hearts, name, getattr(hearts, name))
    monkeypatch.setattr(hearts.PostgresStore, "poll_s", 0.2)
    fast_hearts()


@pytest.fixture
def errors(tmp_path):
    return tmp_path / "errors"


@pytest.fixture
def opened(postgres, tmp_path):
    """Open the trials as a machine with a folder of its own sees them."""
    with contextlib.ExitStack() as machines:

        def open_trials(machine="one"):
            trials = Trials(tmp_path / machine / "study", postgres.url)
            machines.enter_context(contextlib.closing(trials))
            trials.plan(FOUR, '{"a": 1}', SPECS)
            return trials

        yield open_trials


def test_all_that_open_a_study_at_once_open_one(postgres, opened):
    """The tables are not there yet."""
    with ThreadPoolExecutor(4) as machines:
        trials = list(machines.map(opened, "abcd"))
    assert [states(one) for one in trials] == [["waiting"] * 4] * 4
    assert postgres.sql("select count(*) from studies") == "1"
    assert postgres.sql("select count(*) from trials") == "4"


@pytest.mark.slow
def test_two_that_start_at_once_share_one_study(postgres, tmp_path, errors, trained):
    """Each has a folder of its own, as on two machines; the tables are not there yet."""
    slow = (postgres.url, 0.3, tmp_path)
    with (
        process(study_of_slow_cells, tmp_path / "one/study", *slow, errors=errors) as first,
        process(study_of_slow_cells, tmp_path / "two/study", *slow, errors=errors) as second,
    ):
        first.join(120)
        second.join(120)
    assert (first.exitcode, second.exitcode) == (0, 0), errors.read_text()
    assert postgres.sql("select count(*) from studies") == "1"
    assert postgres.sql("select count(*) from trials") == str(2 * VARIANTS)
    cells = [cell for _, cell in trained(tmp_path)]
    assert len(cells) == len(set(cells)) == 2 * VARIANTS
    assert PLAIN not in errors.read_text() and PASSWORD not in errors.read_text()


def test_a_living_cell_of_another_machine_is_left_alone(opened):
    here, there = map(opened, ("one", "two"))
    job = here.take()
    there.store.answers_since -= hearts.GRACE_S
    time.sleep(hearts.GRACE_S + 1)
    assert [there.take().cell for _ in FOUR[1:]] == FOUR[1:]
    assert there.take() is None
    here.finish(job, 60.0, DONE)
    assert states(there)[0] == "done"


@pytest.mark.slow
def test_a_cell_of_a_dead_process_is_taken_once(postgres, tmp_path, errors, trained):
    one, two = tmp_path / "one/study", tmp_path / "two/study"
    with process(study_of_slow_cells, one, postgres.url, 600.0, tmp_path) as killed:
        wait_for(lambda: list(tmp_path.rglob("started")))
        os.kill(killed.pid, signal.SIGKILL)
        slow = (postgres.url, 0.3, tmp_path)
        with process(study_of_slow_cells, two, *slow, errors=errors) as other:
            other.join(120)
    assert other.exitcode == 0, errors.read_text()
    cells = [cell for _, cell in trained(tmp_path)]
    assert len(cells) == len(set(cells)) == 2 * VARIANTS


def test_a_process_that_was_taken_for_dead_gives_way(opened):
    here, there = map(opened, ("one", "two"))
    job = here.take()
    job.hold.release()  # its heart stands still
    time.sleep(hearts.GRACE_S + 0.5)
    there.store.answers_since -= hearts.GRACE_S
    assert [there.take().cell for _ in FOUR] == [*FOUR[1:], FOUR[0]]
    with pytest.raises(CellLost, match="none seed 0"):
        here.finish(job, 60.0, DONE)
    assert states(there) == ["running"] * 4


def test_a_heart_learns_that_its_cell_is_lost(postgres, opened):
    trials = opened()
    job = trials.take()
    job.check()
    postgres.sql("update trials set state = 'FAIL' where state = 'RUNNING'")
    wait_for(lambda: job.hold.lost, 10)
    with pytest.raises(CellLost):
        job.check()
    job.hold.release()


@pytest.mark.slow
def test_a_server_that_restarts_is_waited_for(postgres, tmp_path, errors, trained):
    slow = (postgres.url, 1.0, tmp_path)
    with process(study_of_slow_cells, tmp_path / "a/study", *slow, errors=errors) as one:
        wait_for(lambda: list(tmp_path.rglob("started")))
        postgres.restart()
        one.join(120)
    assert one.exitcode == 0, errors.read_text()
    assert len(trained(tmp_path)) == 2 * VARIANTS
    assert "does not answer; waiting up to 900 s for it" in errors.read_text()


def test_nobody_is_dead_while_the_server_was_away(postgres, opened):
    """All hearts stand still when it comes back; they are given the time to beat again."""
    here, there = map(opened, ("one", "two"))
    job = here.take()
    there.store.answers_since -= hearts.GRACE_S
    postgres.restart(away_s=hearts.GRACE_S + 1)
    assert [there.take().cell for _ in FOUR[1:]] == FOUR[1:]
    time.sleep(1.5)
    assert there.take() is None
    here.finish(job, 60.0, DONE)


def test_a_server_that_stays_away_ends_in_a_sentence(postgres, opened, monkeypatch):
    trials = opened()
    monkeypatch.setattr(hearts, "OUTAGE_S", 2.0)
    postgres.stop()
    try:
        with pytest.raises(InputError, match=r"no answer for 2 s .*the same command continues"):
            trials.take()
    finally:
        postgres.start()
    assert trials.take().cell == FOUR[0]


def test_what_was_recorded_before_the_answer_was_lost_is_not_recorded_twice(postgres, opened):
    trials = opened()
    job = trials.take()
    trials.finish(job, 60.0, DONE)
    trials.finish(job, 60.0, DONE)  # what a second attempt does
    failed = trials.take()
    trials.fail(failed, "the loss is nan")
    trials.fail(failed, "the loss is nan")
    assert states(trials) == ["done", "failed", "waiting", "waiting"]
    assert postgres.sql("select count(*) from trial_values") == "1"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ((PASSWORD, "wrong"), "password authentication failed for user"),
        (("postgres:", "nobody:"), 'authentication failed for user "nobody"'),
        (("@127", "@no.where.127"), "failed to resolve host"),
        ((PASSWORD, "p@ss"), "no address of a database"),
        (("postgresql+psycopg", "mysql+pymysql"), "a study is kept in SQLite or in PostgreSQL"),
        (("postgresql+psycopg://", ""), "no address of a database"),
    ],
)
def test_a_wrong_address_ends_in_a_sentence(postgres, tmp_path, change, sentence):
    url = postgres.url.replace(*change)
    with pytest.raises(InputError, match=sentence) as error:
        Trials(tmp_path, url)
    assert "ss" not in str(error.value).replace("password", "").replace("address", "")


def refuse(listener, sentence):
    """Answer a client as a server does that is up and takes no connection yet."""
    fields = b"SFATAL\0VFATAL\0C57P03\0M" + sentence.encode() + b"\0\0"
    with contextlib.suppress(OSError):  # the test has ended
        while True:
            with listener.accept()[0] as client:
                while (message := client.recv(4096)) and message[4:8] in ENCRYPTION:
                    client.sendall(b"N")
                client.sendall(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)


@pytest.mark.parametrize(
    "state",
    ["starting up", "not yet accepting connections", "shutting down", "in recovery mode"],
)
def test_a_server_that_is_not_ready_yet_is_waited_for(tmp_path, monkeypatch, state):
    monkeypatch.setattr(hearts, "OPENING_S", 0.5)
    said = f"the database system is {state}"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=refuse, args=(listener, said), daemon=True).start()
        url = f"postgresql://user@127.0.0.1:{listener.getsockname()[1]}/runs"
        with pytest.raises(InputError, match=rf"no answer for 0 s \(.*{state}\)"):
            Trials(tmp_path, url)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_database_of_something_else_is_refused(postgres, tmp_path):
    postgres.sql("create table studies (name text)")
    with pytest.raises(InputError, match="no database that this version can keep a study in"):
        Trials(tmp_path, postgres.url)
    gc.collect()  # the connection of Optuna's half-built storage, which nothing can close


def test_a_password_is_written_nowhere(postgres, tmp_path, fake, monkeypatch):
    words = ["study", "digits/demo", "--storage", postgres.url, f"--storage={postgres.url}"]
    monkeypatch.setattr(sys, "argv", ["convgate", *words, "postgresql://u@h/d?password=geheim&a=1"])
    choices = {"gates": ["se"], "seeds": 1, "progress": False}
    run_study("digits/demo", tmp_path, steps=fake, storage=postgres.url, **choices)
    kept = postgres.sql("select string_agg(value_json, '') from trial_user_attributes")
    texts = [file.read_text(errors="replace") for file in tmp_path.rglob("*") if file.is_file()]
    for text in (kept, *texts):
        assert PLAIN not in text and PASSWORD not in text and "geheim" not in text
    assert "postgres:***@127.0.0.1" in kept
    assert "postgres:***@127.0.0.1" in (tmp_path / "summary.json").read_text()


@pytest.mark.slow
def test_runs_on_two_machines_are_asked_for_together(postgres, tmp_path, recipe, fake):
    """Without a shared disk, the weights of one machine are not those that the other has."""
    recipe = replace(recipe, schedule=replace(recipe.schedule, epochs=1))

    def measure(recipe, records, folder, seconds):
        return measure_runs(recipe, records, folder, 0.5)

    steps = replace(fake, fit=fit, measure=measure)
    one, two = tmp_path / "one" / "study", tmp_path / "two" / "study"
    one_gate = {"gates": ["se"], "storage": postgres.url, "progress": False, "steps": steps}
    run_study(recipe, one, seeds=1, **one_gate)
    with pytest.raises(InputError, match=r"^2 of 4 runs are trained and not in .*two/study/trials"):
        run_study(recipe, two, seeds=2, **one_gate)
    assert not (two / "report.md").exists()
    runs = {folder.parent.name for folder in two.rglob("result.json")}
    assert len(runs) == 2  # what was trained is not trained again
    half = two / "trials" / Trials(one, postgres.url).records()[0].cell.folder
    shutil.copytree(one / "trials", two / "trials", dirs_exist_ok=True)
    os.remove(half / "weights.safetensors")
    with pytest.raises(InputError, match=r"^1 of 4 runs .*one/study/trials; copy"):
        run_study(recipe, two, seeds=2, **one_gate)
    shutil.copytree(one / "trials", two / "trials", dirs_exist_ok=True)
    assert len(run_study(recipe, two, seeds=2, **one_gate).rows[0].top1) == 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_deaths_and_five_restarts_lose_and_double_nothing(
    postgres, tmp_path, errors, trained
):
    """Two machines with a folder each; a worker dies, or the server goes, again and again."""
    draw, seeds = random.Random(0), 40
    with contextlib.ExitStack() as machines:
        workers = {}

        def start(name):
            place = (tmp_path / name / "study", postgres.url, 0.6, tmp_path, seeds)
            worker = process(study_of_slow_cells, *place, errors=errors)
            workers[name] = machines.enter_context(worker)

        start("one")
        start("two")
        for death in range(1, 21):
            begun = len(list(tmp_path.rglob("started")))
            wait_for(lambda n=begun: len(list(tmp_path.rglob("started"))) > n + 2)
            time.sleep(draw.uniform(0, 1))
            if death % 4 == 0:
                postgres.restart(draw.uniform(0.5, 6))
            name = draw.choice(["one", "two"])
            os.kill(workers[name].pid, signal.SIGKILL)
            workers[name].join(60)
            start(name)
        assert all(worker.is_alive() for worker in workers.values())
        for worker in workers.values():
            worker.join(600)
            assert worker.exitcode == 0, errors.read_text()
    cells = VARIANTS * seeds
    done = "select count(*), count(distinct u.value_json) from trials t, trial_user_attributes u"
    of_cell = "t.trial_id = u.trial_id and u.key = 'cell'"
    assert postgres.sql(f"{done} where {of_cell} and t.state = 'COMPLETE'") == f"{cells}|{cells}"
    assert postgres.sql("select count(*) from trials where state in ('RUNNING', 'WAITING')") == "0"
    assert int(postgres.sql("select count(*) from trials where state = 'FAIL'")) <= 20
    assert not (tmp_path / DOUBLED).exists()
    assert "Traceback" not in errors.read_text()
