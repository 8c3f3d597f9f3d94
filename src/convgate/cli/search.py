"""`convgate search`: which gate in which stage, within a budget; or continue where it was."""

import json
from pathlib import Path
from typing import Annotated

import typer

from convgate.cli import cluster, options
from convgate.cli.main import app, examples

FILES = ("best.toml", "report.html", "report.md")


@app.command(
    cls=cluster.RayCommand,
    epilog=examples(
        "convgate search digits/demo --gate se,eca --out demo",
        "convgate search finetune/full --data photos --gate se,eca,ela --budget 1.05 --out search",
        "convgate train search/best.toml --out best",
    ),
)
def search(  # noqa: PLR0913 - one argument an option
    recipe: options.RecipeName,
    out: Annotated[
        Path, typer.Option(help="Folder of the search; with a search in it, that one continues.")
    ],
    gate: Annotated[
        str | None,
        typer.Option(
            callback=cluster.name_gates_alone,
            help="Gates to choose from, with commas; those of the recipe's study by default.",
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(help="Site, or pattern of module paths, of the gates; block_end by default."),
    ] = None,
    stages: Annotated[
        str, typer.Option(help="Stages to search, as in 2,3; all that have the site by default.")
    ] = "",
    start: options.RecipeStart = "",
    model: Annotated[
        str | None, typer.Option(help=f"Another network than the recipe's: {options.KINDS}.")
    ] = None,
    pretrained: options.Pretrained = False,
    weights: options.Weights = None,
    data: options.Data = None,
    budget: Annotated[
        float, typer.Option(help="Latency allowed, over that of the plain network.")
    ] = 1.10,
    engine: options.Engine = "eager",
    dtype: options.Dtype = "float32",
    fold: options.FoldShipped = False,
    seconds: Annotated[
        float | None,
        typer.Option(help="Seconds of each latency comparison; two a network by default."),
    ] = None,
    trials: Annotated[int, typer.Option(help="Combinations that may be looked at.")] = 200,
    best: Annotated[int, typer.Option(help="Combinations to train in full.")] = 2,
    uniform: Annotated[
        int, typer.Option(help="Gates to train in full where each is alone, the best first.")
    ] = 2,
    seeds: Annotated[int, typer.Option(help="Trainings in full of each.")] = 3,
    held_out: Annotated[
        float, typer.Option(help="Share of the training pictures that the search scores on.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of the search.")] = 0,
    settings: options.Settings = None,
    skip_bad: options.SkipBad = False,
    storage: Annotated[
        str | None,
        typer.Option(
            help="Share the search among machines without a common folder: "
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
    """Find which gate pays in which stage of a network, within a latency budget."""
    from convgate.deploy.runtimes import check_engine
    from convgate.searches import Timing
    from convgate.searches import search as run_search

    check_engine(engine, dtype)
    result = run_search(
        recipe,
        out,
        timing=Timing(engine, dtype, fold, seconds),
        storage=storage,
        ray=cluster.ray_options(ray, gpus_per_cell, cpus_per_cell, storage_path, latency_on),
        gates=None if gate is None else options.split(gate),
        at=at,
        stages=options.read_stages(stages),
        start=start or None,
        model=model,
        pretrained=pretrained or None,
        weights=weights,
        data=data,
        budget=budget,
        trials=trials,
        best=best,
        uniform=uniform,
        seeds=seeds,
        held_out=held_out,
        seed=seed,
        settings=settings,
        skip_bad=skip_bad or None,
    )
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=2, default=str))
        return
    typer.echo("\n".join([str(result), *(str(out / name) for name in FILES)]))
