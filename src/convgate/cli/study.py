"""`convgate study`: which gate, where, and does it pay; or continue where it was."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from convgate.cli import cluster, options
from convgate.cli.main import app, examples

FILES = ("report.html", "report.md", "results.csv")


@app.command(
    cls=cluster.RayCommand,
    epilog=examples(
        "convgate study digits/demo --gate se,seln --out demo",
        "convgate study digits/demo --model run --gate eca,ela --at spatial --out more",
        "convgate study my.toml --model resnet18,resnet34 --pretrained --gate eca --out two",
        "convgate study finetune/full --data photos --engine openvino --fold --out shipped",
        "convgate study --preset ean.2 --data cifar100 --out ean2",
    ),
)
def study(  # noqa: PLR0913 - one argument an option
    out: Annotated[
        Path, typer.Option(help="Folder of the study; with a study in it, that study continues.")
    ],
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="A recipe by name (see ls recipes), or a TOML file; else the preset's."
        ),
    ] = None,
    gate: Annotated[
        str | None,
        typer.Option(
            callback=cluster.name_gates_alone,
            help="Gates to compare, with commas: se,my_gates:MyGate.",
        ),
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="Sites to compare, with commas: block_end,spatial.")
    ] = None,
    stages: options.Stages = "",
    start: options.RecipeStart = "",
    seeds: Annotated[int | None, typer.Option(help="Runs of each variant.")] = None,
    model: Annotated[
        str | None, typer.Option(help=f"Networks to compare on, with commas, each {options.KINDS}.")
    ] = None,
    pretrained: options.Pretrained = False,
    weights: options.Weights = None,
    preset: Annotated[
        str | None, typer.Option(help="Train the rows of a printed table, such as ean.2.")
    ] = None,
    rows: Annotated[
        str | None, typer.Option(help="Only these rows of the preset: 'resnet56*,wrn*'.")
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            help="Compare values of an option: gate.options.groups=1,2,4, "
            "or gate.start=identity,paper."
        ),
    ] = None,
    data: options.Data = None,
    budget: Annotated[
        float | None,
        typer.Option(help="Latency a gate may cost, over that of its base; 1.10 by default."),
    ] = None,
    settings: options.Settings = None,
    skip_bad: options.SkipBad = False,
    seconds: Annotated[
        float | None, typer.Option(help="Seconds for the latency of each variant.")
    ] = None,
    remeasure: Annotated[
        bool, typer.Option("--remeasure", help="Measure the latency again.")
    ] = False,
    engine: options.Engine = "eager",
    dtype: options.Dtype = "float32",
    fold: options.FoldShipped = False,
    storage: Annotated[
        str | None,
        typer.Option(
            help="Keep the list of runs in a database, in place of OUT/study.db: "
            "postgresql+psycopg://USER@HOST/DATABASE."
        ),
    ] = None,
    ray: cluster.Ray = None,
    gpus_per_cell: cluster.GpusPerCell = None,
    cpus_per_cell: cluster.CpusPerCell = 1.0,
    storage_path: cluster.StoragePath = None,
    latency_on: cluster.LatencyOn = None,
    as_json: options.Json = False,
) -> None:
    """Compare gates on one recipe, or continue the comparison."""
    from convgate.deploy.runtimes import check_engine
    from convgate.papers.preset import chosen_preset
    from convgate.studies import Steps, run_study
    from convgate.studies.measurement import measure_runs
    from convgate.studies.tables import short_table

    check_engine(engine, dtype)  # before hours of training, not after
    result = run_study(
        recipe,
        out,
        gates=_names(gate),
        sites=_names(at),
        stages=options.read_stages(stages),
        start=start or None,
        models=_names(model),
        pretrained=pretrained or None,
        weights=weights,
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
        ray=cluster.ray_options(ray, gpus_per_cell, cpus_per_cell, storage_path, latency_on),
        steps=Steps(measure=partial(measure_runs, engine=engine, dtype=dtype, fold=fold)),
    )
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=2, default=str))
        return
    table = short_table(result.rows, result.budget)
    typer.echo("\n".join([str(table), result.answer, *(str(out / name) for name in FILES)]))


def _names(listed: str | None) -> list[str] | None:
    return None if listed is None else options.split(listed)
