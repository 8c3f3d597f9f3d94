"""`convgate predict`: what is on a picture, by any file that was shipped."""

import json
from pathlib import Path
from typing import Annotated

import typer

from convgate.cli.main import app


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    model: Annotated[Path, typer.Option(help="A run, weights, a hub folder, .onnx or .xml.")],
    data: Annotated[Path | None, typer.Option(help="Where a run's data lies now.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Name the five most probable classes: `convgate predict photo.jpg --model net.onnx`."""
    from convgate.cli.table import show
    from convgate.deploy import open_classifier
    from convgate.deploy import predict as classify

    found = classify(open_classifier(model, data=data), images)
    if as_json:
        typer.echo(json.dumps([prediction.to_dict() for prediction in found], indent=2))
        return
    rows = [
        {
            "image": prediction.image.name if not place else "",
            "class": guess.name,
            "probability": f"{guess.probability:.1%}",
        }
        for prediction in found
        for place, guess in enumerate(prediction.top)
    ]
    show(rows, as_json=False)
