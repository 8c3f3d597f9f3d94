"""`convgate eval`: score what a run left behind."""

import json
from pathlib import Path
from typing import Annotated

import typer

from convgate.cli.main import app


@app.command("eval")
def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run, or its weights file.")],
    data: Annotated[Path | None, typer.Option(help="Folder or zip of the data.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score trained weights on their validation split: `convgate eval run`."""
    from convgate.train.evaluate import Evaluation, evaluate_run
    from convgate.train.evaluate_scenes import SceneEvaluation, evaluate_scenes
    from convgate.train.record import show_accuracy
    from convgate.train.scene_record import show_scores
    from convgate.train.trained import read_trained

    stored = read_trained(run, data)
    scores: Evaluation | SceneEvaluation
    if stored.recipe.task.name == "classify":
        scores = evaluate_run(stored)
        line = show_accuracy(scores)
    else:
        scores = evaluate_scenes(stored)
        line = show_scores(scores.scores)
    typer.echo(json.dumps(scores.to_dict()) if as_json else f"{line}  on {scores.images:,} images")
