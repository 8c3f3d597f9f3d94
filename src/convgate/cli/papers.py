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
    results: Annotated[
        list[Path] | None,
        typer.Option(help="A run, a study, or a folder of them; repeatable."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Measure the feature distance of trained rows on this data.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw accuracy over cost into an .svg or a .png.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file.")] = None,
) -> None:
    """Compare a paper's table with ours: `convgate table ean.3 --rows 'resnet50*' --latency`."""
    from convgate.cli.rivals import open_device
    from convgate.cli.survey import progress
    from convgate.deploy.engines import EngineConfig
    from convgate.papers.plot import check_plot, write_plot
    from convgate.papers.run import run_table
    from convgate.papers.text import check_format, render, render_list
    from convgate.papers.trained import with_results

    check_format(form)
    if name == "ls":
        _show(render_list(form), out)
        return
    open_device(device)
    if plot is not None:
        check_plot(name, plot)
    with progress() as told:
        result = run_table(
            name,
            rows,
            latency=latency,
            device=device,
            batch=batch,
            seconds=seconds,
            course=EngineConfig(engine, dtype),
            on_progress=told,
        )
        result = with_results(result, results or (), images=images, device=device, on_progress=told)
    if plot is not None:
        write_plot(result, plot)
    _show(render(result, form), out)


def _show(text: str, out: Path | None) -> None:
    from convgate.papers.text import write

    if out is None:
        typer.echo(text)
    else:
        write(out, text)
