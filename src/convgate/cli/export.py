"""`convgate export`: a network as a hub folder, an ONNX file or an OpenVINO file."""

from pathlib import Path
from typing import Annotated

import typer

from convgate.cli import options
from convgate.cli.main import app, examples

Form = Annotated[
    str,
    typer.Option(
        "--format", help="hub (a folder that timm loads), onnx, or openvino (.xml and .bin)."
    ),
]
Dtype = Annotated[
    str, typer.Option(help="Number type of the file: float32, float16, or int8 (openvino).")
]
FixedSize = Annotated[
    bool, typer.Option("--fixed-size", help="Let the file take no other image size.")
]
Calibrate = Annotated[
    Path | None, typer.Option(help="Folder or zip of pictures that int8 takes its ranges from.")
]
Validate = Annotated[
    Path | None,
    typer.Option(help="Folder or zip of CLASS/picture; the accuracy on it is measured and noted."),
]


@app.command(
    epilog=examples(
        "convgate export runs/seln --format onnx --out net.onnx",
        "convgate export resnet50 --pretrained --format hub --out folder",
        "convgate export runs/seln --format openvino --out net.xml --dtype int8 --calibrate photos",
    )
)
def export(  # noqa: PLR0913  every option of the verb is one argument
    model: options.Model,
    form: Form,
    out: Annotated[Path, typer.Option("--out", help="The .onnx or .xml file, or a new folder.")],
    pretrained: options.Pretrained = False,
    weights: options.Weights = None,
    dtype: Dtype = "float32",
    image_px: options.ImagePx = 0,
    fixed_size: FixedSize = False,
    calibrate: Calibrate = None,
    validate: Validate = None,
    force: options.Force = False,
) -> None:
    """Export a network for use elsewhere; the file is run and compared with the network first."""
    from convgate.deploy import export as write
    from convgate.networks import open_network

    exported = write(
        open_network(model, pretrained=pretrained, weights=weights, image_px=image_px),
        form,
        out,
        dtype=dtype,
        fixed_size=fixed_size,
        calibration=calibrate,
        validation=validate,
        force=force,
    )
    typer.echo(str(exported))
    typer.echo("\n".join(map(str, exported.files)))
