"""`convgate study`: which gate, where, and does it pay; or continue where it was."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from convgate.cli.main import app

FILES = ("report.html", "report.md", "results.csv")


@app.command()
def study(  # noqa: PLR0913 - one argument an option
    out: Annotated[Path, typer.Option(help="Folder of the study; the same one continues it.")],
    recipe: Annotated[
        str | None,
        typer.Argument(help="A name of `convgate ls recipes`, or a TOML file; else the preset's."),
    ] = None,
    gates: Annotated[str | None, typer.Option(help="Gates, as in se,eca,seln.")] = None,
    sites: Annotated[str | None, typer.Option(help="Sites, as in block_end,spatial.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Runs of each variant.")] = None,
    model: Annotated[str | None, typer.Option(help="Backbones, as in resnet8,resnet20.")] = None,
    preset: Annotated[str | None, typer.Option(help="A printed table's rows, as in ean.2.")] = None,
    rows: Annotated[str | None, typer.Option(help="Its rows, as in 'resnet56*,wrn*'.")] = None,
    sweep: Annotated[
        str | None, typer.Option(help="An option as an axis: gate.options.groups=1,2,4.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Image folder or zip.")] = None,
    budget: Annotated[float | None, typer.Option(help="Latency over the base's; 1.10.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one key, as in schedule.epochs=5; repeatable."),
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out corrupt images.")] = False,
    seconds: Annotated[float | None, typer.Option(help="Time for the latency.")] = None,
    remeasure: Annotated[bool, typer.Option("--remeasure", help="Time again.")] = False,
    engine: Annotated[str, typer.Option(help="That times: eager, compile, openvino.")] = "eager",
    dtype: Annotated[str, typer.Option(help="Of the timed arithmetic.")] = "float32",
    storage: Annotated[str | None, typer.Option(help="Another Optuna storage's address.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare gates on one recipe: `convgate study digits/demo --gates se,seln --out demo`."""
    from convgate.deploy.runtimes import check_engine
    from convgate.papers.preset import chosen_preset
    from convgate.studies import Steps, run_study
    from convgate.studies.measurement import measure_runs
    from convgate.studies.tables import short_table

    check_engine(engine, dtype)  # before hours of training, not after
    result = run_study(
        recipe,
        out,
        gates=_names(gates),
        sites=_names(sites),
        models=_names(model),
        seeds=seeds,
        budget=budget,
        preset=chosen_preset(preset, _names(rows), any_recipe=recipe is not None),
        sweep=sweep,
        settings=settings,
        data=data,
        skip_bad=skip_bad,
        seconds=seconds,
        remeasure=remeasure,
        storage=storage,
        steps=Steps(measure=partial(measure_runs, engine=engine, dtype=dtype)),
    )
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=2, default=str))
        return
    table = short_table(result.rows, result.budget)
    typer.echo("\n".join([str(table), result.answer, *(str(out / name) for name in FILES)]))


def _names(listed: str | None) -> list[str] | None:
    return None if listed is None else [name for name in listed.split(",") if name]
