"""`convgate eval`: score a network."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from convgate.cli import options
from convgate.cli.main import app, examples


@app.command(
    "eval",
    epilog=examples(
        "convgate eval run",
        "convgate eval net.onnx --data photos",
        "convgate eval resnet50 --pretrained --data imagenet",
    ),
)
def evaluate(
    model: Annotated[
        str, typer.Argument(help=f"The network: {options.KINDS}; or an .onnx or .xml file.")
    ],
    data: options.Data = None,
    weights: options.Weights = None,
    pretrained: options.Pretrained = False,
    as_json: options.Json = False,
) -> None:
    """Score a network on the validation split of its run, or on labelled pictures."""
    from convgate.deploy.predict import open_predictor
    from convgate.networks import open_network
    from convgate.train import evaluate as score

    opened = open_predictor if Path(model).suffix in (".onnx", ".xml") else open_network
    network: Any = opened(model, weights=weights, pretrained=pretrained)
    found = score(network, data=data)
    typer.echo(json.dumps(found.to_dict()) if as_json else found.line)
