"""`convgate export`: ship a network as a hub folder, ONNX or OpenVINO IR."""

from pathlib import Path
from typing import Annotated

import typer

from convgate.cli.main import app

Form = Annotated[str, typer.Option("--format", help="hub, onnx or openvino.")]
Out = Annotated[Path, typer.Option(help="A new folder for hub, a .onnx or a .xml file.")]
Weights = Annotated[Path | None, typer.Option(help="For a name: checkpoint to load.")]
Fetch = Annotated[bool, typer.Option("--pretrained", help="For a name: the library's weights.")]
Fixed = Annotated[bool, typer.Option("--fixed-size", help="Take no other image size.")]
Pictures = Annotated[Path | None, typer.Option(help="Folder or zip that int8 is tuned on.")]
Judged = Annotated[Path | None, typer.Option(help="Folder or zip of CLASS/image for accuracy.")]


@app.command()
def export(  # noqa: PLR0913  every option of the verb is one argument
    network: Annotated[str, typer.Argument(help="A run, a weights file, a hub folder or a name.")],
    form: Form,
    out: Out,
    dtype: Annotated[str, typer.Option(help="float32, float16 or int8.")] = "float32",
    fixed_size: Fixed = False,
    weights: Weights = None,
    pretrained: Fetch = False,
    calibrate: Pictures = None,
    validate: Judged = None,
) -> None:
    """Ship a network, checked first: `convgate export run --format onnx --out net.onnx`."""
    from convgate.deploy import export as write
    from convgate.networks import open_network

    exported = write(
        open_network(network, weights=weights, pretrained=pretrained),
        form,
        out,
        dtype=dtype,
        fixed_size=fixed_size,
        calibration=calibrate,
        validation=validate,
    )
    typer.echo(str(exported))
    typer.echo("\n".join(map(str, exported.files)))
