"""`convgate train`: run a recipe, or continue it where it was."""

from pathlib import Path
from typing import Annotated

import typer

from convgate.cli.main import app


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A name of `convgate ls recipes`, or a TOML file.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; the same one continues it.")],
    data: Annotated[Path | None, typer.Option(help="Folder or zip of the data.")] = None,
    model: Annotated[str, typer.Option(help="Another backbone.")] = "",
    gate: Annotated[str, typer.Option(help="Another gate; none for the plain backbone.")] = "",
    at: Annotated[str, typer.Option(help="Where the gate sits.")] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one key, as in optimizer.lr=0.1; repeatable."),
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out what is faulty.")] = False,
) -> None:
    """Train a recipe: `convgate train digits/demo --gate seln --out run`."""
    from convgate.storage import WEIGHTS
    from convgate.train.fit import fit
    from convgate.train.recipe import chosen, load_recipe, override
    from convgate.train.trainer import process

    plan = load_recipe(recipe)
    plan = chosen(plan, data=data, model=model, gate=gate, at=at, skip_bad=skip_bad)
    run = override(plan, *settings or ())  # last: a key may be of the gate or model just chosen
    result = fit(run, out)
    if process().rank == 0:  # one of several processes speaks
        typer.echo(f"{result}\n{out / WEIGHTS}")
