"""`convgate predict`: what is on pictures."""

import json
from pathlib import Path
from typing import Annotated

import typer

from convgate.cli.main import app


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Pictures, or folders or zips of them.")],
    model: Annotated[
        str, typer.Option(help="A run, weights, a hub folder, .onnx, .xml or a name.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Detection, segmentation: folder of drawings, or one .png.")
    ] = None,
    threshold: Annotated[float, typer.Option(help="Detection: the smallest score.")] = 0.5,
    weights: Annotated[Path | None, typer.Option(help="For a name: checkpoint to load.")] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="For a name: the library's weights.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite drawings.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is on a picture: `convgate predict photo.jpg --model net.onnx`."""
    from convgate.deploy import open_predictor
    from convgate.deploy import predict as see

    exported = Path(model).suffix in (".onnx", ".xml")
    options = {} if exported else {"weights": weights, "pretrained": pretrained}
    found = see(open_predictor(model, **options), images, out=out, threshold=threshold, force=force)
    if as_json:
        typer.echo(json.dumps([prediction.to_dict() for prediction in found], indent=2))
    else:
        typer.echo(str(found))
