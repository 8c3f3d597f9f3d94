"""`convgate study --ray` in a process of its own, which a small machine may kill."""

import os
import sys
from dataclasses import replace

import pytest

pytest.importorskip("ray")

from convgate.studies import run_study
from convgate.studies.trials import Trials
from convgate.train.fit import fit
from fixtures.processes import convgate, process

SHORT = ("schedule.epochs=1", "schedule.warmup_epochs=0", "data.train_count=200")
ENDED = (0, 2)
"""Done, and bad input; any other code is a death, after which the same command continues."""


@pytest.mark.slow
@pytest.mark.timeout(900)  # three starts on a machine that kills two
def test_a_study_on_ray_gives_what_one_process_gives(tmp_path, monkeypatch, fake):
    """Real trainings, to the last digit, however often the driver's process dies on the way."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # what a process of Ray imports
    monkeypatch.setenv("RAY_OVERRIDE_RESOURCES", '{"CPU": 1}')  # one process trains
    words = [word for setting in SHORT for word in ("--set", setting)]
    command = ("study", "digits/demo", "--gate", "se", "--seeds", "1", *words, "--seconds", "0.1")
    errors = tmp_path / "errors"
    for _ in range(3):
        with process(
            convgate, *command, "--ray", "--out", str(tmp_path / "ray"), errors=errors
        ) as study:
            study.join(280)
            code = study.exitcode
        if code in ENDED:
            break
    assert code == 0, errors.read_text()
    run_study(
        "digits/demo",
        tmp_path / "plain",
        gates=["se"],
        seeds=1,
        settings=SHORT,
        progress=False,
        steps=replace(fake, fit=fit),
    )
    there, here = (Trials(tmp_path / name).records() for name in ("ray", "plain"))
    assert {r.cell: r.top1 for r in there} == {r.cell: r.top1 for r in here}
    assert [r.state for r in there] == ["done", "done"]
