"""`convgate eval`: score a network."""

import json
from pathlib import Path
from typing import Annotated

import typer

from convgate.cli.main import app


@app.command("eval")
def evaluate(
    model: Annotated[str, typer.Argument(help="A run, a weights file, a hub folder or a name.")],
    data: Annotated[Path | None, typer.Option(help="Folder or zip of the data.")] = None,
    weights: Annotated[Path | None, typer.Option(help="For a name: checkpoint to load.")] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="For a name: the library's weights.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a network on its validation split, or on labelled pictures: `convgate eval run`."""
    from convgate.train import evaluate as score

    found = score(model, data=data, weights=weights, pretrained=pretrained)
    typer.echo(json.dumps(found.to_dict()) if as_json else str(found))
