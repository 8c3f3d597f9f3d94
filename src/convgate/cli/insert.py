"""`convgate insert`: a gate into a network by name, checked, reported and saved."""

from pathlib import Path
from typing import Annotated

import typer

from convgate.cli.main import app

Set = Annotated[list[str] | None, typer.Option("--set", help="Gate option, as in reduction=8.")]
Px = Annotated[int, typer.Option(help="Side of the images; the model's own by default.")]


@app.command()
def insert(  # noqa: PLR0913  every option of the verb is one argument
    model: Annotated[str, typer.Argument(help="A name of `convgate ls models`.")],
    gate: Annotated[str, typer.Option(help="A name of `convgate ls gates`.")],
    at: Annotated[str, typer.Option(help="A site, or a pattern of module paths.")] = "block_end",
    stages: Annotated[str, typer.Option(help="Stages, as in 2,3; all by default.")] = "",
    start: Annotated[str, typer.Option(help="identity (changes nothing) or paper.")] = "identity",
    settings: Set = None,
    weights: Annotated[Path | None, typer.Option(help="Checkpoint to load before.")] = None,
    out: Annotated[Path | None, typer.Option(help="Save the weights, as safetensors.")] = None,
    image_px: Px = 0,
    measure: Annotated[bool, typer.Option("--measure", help="Time the gates.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Insert a gate: `convgate insert resnet50 --gate seln --stages 3,4 --out r50.safetensors`."""
    import json

    from convgate.cli.graft import Graft, graft, save

    wanted = Graft.parsed(model, gate, at, stages, start, settings or ())
    network, report, unchanged = graft(wanted, weights, image_px, measure)
    if out is not None:
        save(out, network, wanted, weights)
    if as_json:
        typer.echo(json.dumps(report.to_dict() | {"unchanged": unchanged}, indent=2))
        return
    typer.echo(str(report))
    typer.echo(f"output {'unchanged, bit for bit' if unchanged else 'changed'}")
    if out is not None:
        typer.echo(str(out))
