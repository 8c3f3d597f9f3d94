"""`convgate app`: a page in the browser that shows networks at work."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from convgate.cli import options
from convgate.cli.main import app as verbs
from convgate.cli.main import examples
from convgate.cli.output import progress
from convgate.errors import missing

DEFAULT = "tf_efficientnet_lite0.pypi_in1k"


@verbs.command(
    epilog=examples(
        "convgate app runs/plain runs/seln --data photos",
        "convgate app resnet50 --pretrained --gate seln",
        "convgate app run --engine openvino --port 8000",
    )
)
def app(  # noqa: PLR0913  every option of the verb is one argument
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help=f"One to four networks, each {options.KINDS}; by default {DEFAULT}.",
            show_default=False,
        ),
    ] = None,
    pretrained: options.Pretrained = False,
    weights: options.Weights = None,
    gate: Annotated[
        str, typer.Option(help="Gate that is put beside a lone network without gates.")
    ] = "se",
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder or zip of pictures to offer as examples.")
    ] = None,
    image_px: options.ImagePx = 0,
    engine: options.Engine = "eager",
    dtype: options.Dtype = "float32",
    device: options.Device = "cpu",
    seconds: Annotated[float, typer.Option(help="Max seconds of each measurement.")] = 4.0,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 127.0.0.1 is for this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 7860,
) -> None:
    """Show networks side by side on your pictures, in the browser."""
    check_server()
    from convgate.app import open_workbench, serve
    from convgate.app.workbench import sample_pictures
    from convgate.deploy import EngineConfig

    config = EngineConfig(engine, dtype)
    with progress() as report:
        bench = open_workbench(
            models or [DEFAULT],
            gate=gate,
            examples=sample_pictures(data),
            config=config,
            seconds=seconds,
            progress=report,
            pretrained=pretrained or not models,
            weights=weights,
            image_px=image_px,
            device=options.open_device(device),
        )
    typer.echo(f"http://{host}:{port} (Ctrl-C ends it)")
    serve(bench, host, port)


def check_server() -> None:
    """Ask that what serves the page is installed.

    Raises:
        InputError: if it is not.
    """
    for package in ("starlette", "uvicorn"):
        if find_spec(package) is None:
            raise missing("the page", package, "app")
