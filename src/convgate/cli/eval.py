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
    from convgate.train.evaluate import evaluate_run, read_run
    from convgate.train.evaluate_scenes import evaluate_scenes
    from convgate.train.scene_record import show_scores

    stored = read_run(run, data)
    if stored.recipe.task.name == "classify":
        found = evaluate_run(stored)
        line = f"top-1 {found.top1:.2f} %  top-5 {found.top5:.2f} %  val loss {found.val_loss:.4f}"
    else:
        found = evaluate_scenes(stored)
        line = show_scores(found.scores)
    typer.echo(json.dumps(found.to_dict()) if as_json else f"{line}  on {found.images:,} images")
