"""`convgate predict`: what is on pictures."""

import json
from pathlib import Path
from typing import Annotated

import typer

from convgate.cli import options
from convgate.cli.main import app, examples
from convgate.errors import printable


@app.command(
    epilog=examples(
        "convgate predict photo.jpg more/ --model net.onnx",
        "convgate predict photo.jpg --model resnet50 --pretrained",
        "convgate predict street.jpg --model run --out seen",
    )
)
def predict(
    images: Annotated[
        list[Path], typer.Argument(help="Pictures, and folders or zip archives of pictures.")
    ],
    model: Annotated[
        str,
        typer.Option("--model", help=f"The network: {options.KINDS}; or an .onnx or .xml file."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for drawings of objects or pixels; a .png for one picture."),
    ] = None,
    threshold: Annotated[
        float, typer.Option(help="Smallest score of an object that is shown.")
    ] = 0.5,
    weights: options.Weights = None,
    pretrained: options.Pretrained = False,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Say what is on pictures."""
    from convgate.deploy.predict import open_predictor
    from convgate.deploy.predict import predict as see

    network = open_predictor(model, weights=weights, pretrained=pretrained)
    found = see(network, images, out=out, threshold=threshold, force=force)
    if as_json:
        typer.echo(json.dumps([prediction.to_dict() for prediction in found], indent=2))
        return
    written = [printable(str(prediction.drawing)) for prediction in found if prediction.drawing]
    typer.echo("\n".join([str(found), *written]))
