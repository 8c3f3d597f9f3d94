"""`convgate predict`: what is on a picture, by any file that was shipped."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from convgate.cli.main import app


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    model: Annotated[Path, typer.Option(help="A run, weights, a hub folder, .onnx or .xml.")],
    data: Annotated[Path | None, typer.Option(help="Where a run's data lies now.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Detection, segmentation: folder of drawings, or one .png.")
    ] = None,
    threshold: Annotated[float, typer.Option(help="Detection: the least score.")] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is on a picture: `convgate predict photo.jpg --model net.onnx`."""
    from convgate.cli.output import show
    from convgate.errors import InputError
    from convgate.train.trained import task_of

    if task_of(model) != "classify":
        found, rows = _scenes(model, images, out, threshold)
    elif out is not None:
        raise InputError(f"--out {out}: a classifier draws nothing; do without")
    else:
        found, rows = _classes(model, images, data)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        show(rows, as_json=False)


Said = tuple[list[dict[str, object]], list[dict[str, object]]]


def _classes(model: Path, images: Sequence[Path], data: Path | None) -> Said:
    """Return the five most probable classes of each image: for JSON, and as rows."""
    from convgate.deploy import open_classifier
    from convgate.deploy import predict as classify

    found = classify(open_classifier(model, data=data), images)
    rows: list[dict[str, object]] = [
        {
            "image": prediction.image.name if not place else "",
            "class": guess.name,
            "probability": f"{guess.probability:.1%}",
        }
        for prediction in found
        for place, guess in enumerate(prediction.top)
    ]
    return [prediction.to_dict() for prediction in found], rows


def _scenes(model: Path, images: Sequence[Path], out: Path | None, threshold: float) -> Said:
    """Return the objects, or the share of each class, of each image: for JSON, and as rows."""
    from convgate.train.predict_scenes import predict_scenes

    found = predict_scenes(model, images, out, threshold=threshold)
    rows: list[dict[str, object]] = []
    for seen in found:
        image: dict[str, object] = {"image": seen.image.name}
        objects: list[dict[str, object]] = [
            {
                "found": thing.label,
                "score": f"{thing.score:.1%}",
                "box": ", ".join(f"{side:.0f}" for side in thing.box),
            }
            for thing in seen.found
        ]
        objects += [{"found": name, "pixels": f"{x:.1f} %"} for name, x in seen.shares.items()]
        rows += [image | line for line in objects or [{"found": "nothing"}]]
    heads = list(dict.fromkeys(key for row in rows for key in row))
    return [seen.to_dict() for seen in found], [{h: row.get(h, "") for h in heads} for row in rows]
