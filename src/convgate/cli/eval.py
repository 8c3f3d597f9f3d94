"""`convgate eval`: score what a run left behind."""

import json
from pathlib import Path
from typing import Annotated

import typer

from convgate.cli.main import app


@app.command("eval")
def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run, or its weights file.")],
    data: Annotated[Path | None, typer.Option(help="Image folder or zip.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score trained weights on their validation split: `convgate eval run`."""
    from convgate.train.evaluate import evaluate as score

    scores = score(run, data=data)
    if as_json:
        typer.echo(json.dumps(scores.to_dict()))
        return
    typer.echo(
        f"top-1 {scores.top1:.2f} %  top-5 {scores.top5:.2f} %  val loss {scores.val_loss:.4f}  "
        f"on {scores.images:,} images"
    )
