"""`convgate table`: a printed table, beside what is built, counted and timed here."""

from pathlib import Path
from typing import Annotated

import typer

from convgate.cli.main import app


@app.command("table")
def table(  # noqa: PLR0913 - one argument an option
    name: Annotated[str, typer.Argument(help="A table as in selnext.2, or ls for all of them.")],
    rows: Annotated[str, typer.Option(help="A row, or a pattern as in 'resnet50*'.")] = "*",
    latency: Annotated[bool, typer.Option("--latency", help="Time them, too.")] = False,
    device: Annotated[str, typer.Option(help="Where to time: cpu, cuda or cuda:1.")] = "cpu",
    batch: Annotated[int, typer.Option(help="Images in a timed forward pass.")] = 1,
    seconds: Annotated[float, typer.Option(help="Most seconds for a base and its rows.")] = 20.0,
    engine: Annotated[str, typer.Option(help="eager, compile, onnxruntime, openvino.")] = "eager",
    dtype: Annotated[str, typer.Option(help="Of the timed arithmetic.")] = "float32",
    form: Annotated[str, typer.Option("--format", help="table, markdown, csv or json.")] = "table",
    out: Annotated[Path | None, typer.Option(help="Write to this file.")] = None,
) -> None:
    """Compare a paper's table with ours: `convgate table ean.3 --rows 'resnet50*' --latency`."""
    from convgate.cli.rivals import open_device
    from convgate.cli.survey import progress
    from convgate.deploy.race import Course
    from convgate.studies.papers.run import run_table
    from convgate.studies.papers.text import check_format, render, render_list, write

    check_format(form)
    if name == "ls":
        text = render_list(form)
    else:
        open_device(device)
        with progress() as report:
            result = run_table(
                name,
                rows,
                latency=latency,
                device=device,
                batch=batch,
                seconds=seconds,
                course=Course(engine, dtype),
                on_progress=report,
            )
        text = render(result, form)
    if out is None:
        typer.echo(text)
    else:
        write(out, text)
