"""What a study on Ray costs beside the plain loop; one line of JSON for each answer.

    python -m benchmarks.machines study        # 24 cells of 5 s: Ray on two cores, two processes
    python -m benchmarks.machines cells        # 1,000 cells that take no time, by one driver
    python -m benchmarks.machines storage      # rows and bytes that a cell leaves in a study's list

Cells multiply matrices for as long as they are asked to, so that they need their core as trainings
do. `study` times whole commands, with all that a process loads; `cells` times from the first cell
that is handed out to the last one that is written down, on a Ray that has started.
"""

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from convgate.cluster import RayOptions, RaySession, open_session
from convgate.studies import Steps, run_study
from convgate.studies.grid import fingerprint
from convgate.studies.loop import Progress, outcome_of
from convgate.studies.measurement import Measurements
from convgate.studies.on_ray import train_on_ray
from convgate.studies.plan import make_plan
from convgate.studies.trials import Trials
from convgate.train.record import EpochRecord, RunResult

RECIPE = "digits/demo"
SIZE = 64
EPOCHS = 10
WARM_UP_S = 10.0  # for so long none is free to do the loading of another


def work(seconds: float, out: Path) -> RunResult:
    """Multiply matrices for a while, and say what a training would."""
    matrix, end = torch.ones(SIZE, SIZE), time.perf_counter() + seconds
    while time.perf_counter() < end:
        matrix @ matrix
    scores = {"top1": 90.0, "top5": 99.0, "val_loss": 0.2}
    epochs = tuple(
        EpochRecord(
            epoch=i + 1, train_loss=0.3, lr=0.1, images_per_s=1.0, seconds=1.0, scores=scores
        )
        for i in range(EPOCHS)
    )
    return RunResult(
        scores=scores,
        epochs=epochs,
        params=1,
        classes=("a", "b"),
        train_images=1,
        val_images=1,
        skipped=0,
        seconds=seconds,
        out=out,
    )


def slow_fit(recipe: Any, out: Path, **_: Any) -> RunResult:
    return work(5.0, out)


def quick_fit(recipe: Any, out: Path, **_: Any) -> RunResult:
    return work(0.0, out)


def no_measure(*_: Any) -> Measurements:
    return Measurements()


def run_one(out: Path, ray: str | None) -> None:
    """Run the study of 24 cells in this process."""
    torch.set_num_threads(1)
    steps = Steps(check=lambda *_: None, fit=slow_fit, measure=no_measure)
    options = RayOptions(address=ray) if ray else None
    run_study(RECIPE, out, steps=steps, ray=options, gates=["se"], seeds=12, progress=False)


def time_study() -> dict[str, Any]:
    """Time the study by two processes, and by Ray on two cores."""
    with tempfile.TemporaryDirectory() as folder:
        plain = _time_commands([["one", f"{folder}/plain"]] * 2)
        ray = _time_commands([["one", f"{folder}/ray", "--ray", "local"]])
    return {"plain_s": plain, "ray_s": ray, "ratio": ray / plain}


def _time_commands(commands: list[list[str]]) -> float:
    begun = time.perf_counter()
    started = [
        subprocess.Popen([sys.executable, "-m", "benchmarks.machines", *words])
        for words in commands
    ]
    if any(process.wait() for process in started):
        raise SystemExit("a study has failed")
    return time.perf_counter() - begun


def time_cells(seeds: int) -> dict[str, Any]:
    """Time cells that take no time, as one driver hands them out and writes them down."""
    plan = make_plan(RECIPE, {"gates": ["se"], "seeds": seeds})
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with (
            open_session(RayOptions(), place / "trials") as session,
            closing(Trials(place)) as trials,
        ):
            trials.plan(plan.cells, fingerprint(plan.recipe), plan.networks)
            _warm_up(session)
            begun, used = time.perf_counter(), time.process_time()
            train_on_ray(session, trials, plan.recipe, quick_fit, Progress(False))
            seconds, driver = time.perf_counter() - begun, time.process_time() - used
    cells = len(plan.cells)
    return {
        "cells": cells,
        "seconds": seconds,
        "cells_per_s": cells / seconds,
        "driver_ms_per_cell": 1000 * driver / cells,
    }


def _warm_up(session: RaySession) -> None:
    """Have each process that trains cells load what it needs."""
    load = session.ray.remote(num_cpus=session.options.cpus_per_cell)(_load)
    session.ray.get([load.remote() for _ in range(session.slots)])


def _load() -> None:
    quick_fit(None, Path())
    time.sleep(WARM_UP_S)


def count_storage(epochs: int = EPOCHS) -> dict[str, Any]:
    """Count what finished cells add to a study's list."""
    plan = make_plan(RECIPE, {"gates": ["se"], "seeds": 50})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "study.db"
        with closing(Trials(Path(folder))) as trials:
            before = _rows(file), file.stat().st_size
            trials.plan(plan.cells, fingerprint(plan.recipe), plan.networks)
            while (job := trials.take()) is not None:
                result = work(0.0, trials.run_folder(job.cell))
                trials.finish(job, result.score, outcome_of(result))
            rows, size = _rows(file) - before[0], file.stat().st_size - before[1]
    cells = len(plan.cells)
    return {"epochs": epochs, "rows_per_cell": rows / cells, "bytes_per_cell": size / cells}


def _rows(file: Path) -> int:
    with closing(sqlite3.connect(file)) as database:
        tables = database.execute("select name from sqlite_master where type = 'table'").fetchall()
        return sum(
            int(database.execute(f"select count(*) from {table}").fetchone()[0])
            for (table,) in tables
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["study", "cells", "storage", "one"])
    parser.add_argument("out", nargs="?", help="of one: the study's folder")
    parser.add_argument("--ray", help="of one: the address of Ray")
    parser.add_argument("--cells", type=int, default=1000, help="of cells: how many")
    given = parser.parse_args()
    if given.what == "one":
        run_one(Path(given.out), given.ray)
        return
    answers = {
        "study": time_study,
        "cells": lambda: time_cells(given.cells // 2),
        "storage": count_storage,
    }
    print(json.dumps(answers[given.what]()))


if __name__ == "__main__":
    main()
