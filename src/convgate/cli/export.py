"""`convgate export`: ship a network in the hub layout."""

from pathlib import Path
from typing import Annotated

import typer

from convgate.cli.main import app

FORMATS = ("hub",)


@app.command()
def export(
    network: Annotated[str, typer.Argument(help="A run, a weights file, a hub folder or a name.")],
    out: Annotated[Path, typer.Option(help="What to write: a new folder.")],
    form: Annotated[str, typer.Option("--format", help="hub.")] = "hub",
    weights: Annotated[Path | None, typer.Option(help="Checkpoint for a name.")] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="The library's weights.")
    ] = False,
    data: Annotated[Path | None, typer.Option(help="Where a run's data lies now.")] = None,
) -> None:
    """Ship a network: `convgate export run --format hub --out folder`."""
    from convgate.deploy import open_source, save_hub
    from convgate.errors import unknown

    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    source = open_source(network, weights=weights, pretrained=pretrained, data=data)
    save_hub(source.model, source.about, out)
    typer.echo(f"{source.about.name}, weights: {source.about.weights}\n{out}")
