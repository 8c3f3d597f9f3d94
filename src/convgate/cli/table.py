"""`convgate table`: a printed table, beside what is built, counted and timed here."""

from pathlib import Path
from typing import Annotated

import typer

from convgate.cli import options
from convgate.cli.main import app
from convgate.cli.output import progress
from convgate.errors import InputError


@app.command("table")
def table(  # noqa: PLR0913 - one argument an option
    name: Annotated[str, typer.Argument(help="A table as in selnext.2, or ls for all of them.")],
    rows: Annotated[str, typer.Option(help="A row, or a pattern as in 'resnet50*'.")] = "*",
    latency: Annotated[bool, typer.Option("--latency", help="Time them, too.")] = False,
    device: Annotated[str, typer.Option(help="Where to time: cpu, cuda or cuda:1.")] = "cpu",
    batch: Annotated[int, typer.Option(help="Images in a timed forward pass.")] = 1,
    seconds: Annotated[float, typer.Option(help="Max seconds for a base and its rows.")] = 20.0,
    engine: options.Engine = "eager",
    dtype: options.Dtype = "float32",
    fold: options.FoldShipped = False,
    form: Annotated[str, typer.Option("--format", help="table, markdown, csv or json.")] = "table",
    results: Annotated[
        list[Path] | None,
        typer.Option(help="A run, a study, or a folder of them; repeatable."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Measure the feature distance of trained rows on this data.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw accuracy over cost into an .svg, .png or .pdf.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file.")] = None,
    force: options.Force = False,
) -> None:
    """Compare a paper's table with ours: `convgate table ean.3 --rows 'resnet50*' --latency`."""
    from convgate.deploy.engines import EngineConfig
    from convgate.papers.chart import check_plot, write_plot
    from convgate.papers.run import TableTiming, run_table
    from convgate.papers.text import check_format, render, render_list
    from convgate.papers.trained import with_results
    from convgate.storage import check_free

    check_format(form)
    if fold and not latency:
        raise InputError("--fold is about what is timed; add --latency")
    if out is not None:
        check_free(out, force)
    if name == "ls":
        _show(render_list(form), out, force)
        return
    options.open_device(device)
    if plot is not None:
        check_plot(name, plot, force=force)
    timing = TableTiming(
        device=device, batch=batch, seconds=seconds, engine=EngineConfig(engine, dtype), fold=fold
    )
    with progress() as report:
        result = run_table(name, rows, timing=timing if latency else None, on_progress=report)
        result = with_results(
            result, results or (), images=images, device=device, on_progress=report
        )
    if plot is not None:
        write_plot(result, plot, force=force)
    _show(render(result, form), out, force)


def _show(text: str, out: Path | None, force: bool) -> None:
    from convgate.papers.text import write_table

    if out is None:
        typer.echo(text)
    else:
        write_table(text, out, force=force)
