"""`convgate train`: run a recipe, or continue it where it was."""

import json
from pathlib import Path
from typing import Annotated

import typer

from convgate.cli import options
from convgate.cli.main import app, examples
from convgate.errors import InputError


@app.command(
    epilog=examples(
        "convgate train digits/demo --gate seln --out run",
        "convgate train digits/demo --model run --gate eca --at spatial --out more",
        "convgate train my.toml --model tf_efficientnet_lite0.pypi_in1k --pretrained --out run",
        "convgate train my.toml --set optimizer.lr=0.01 --data photos --out run",
    )
)
def train(  # noqa: PLR0913 - one argument an option
    recipe: options.RecipeName,
    out: Annotated[
        Path, typer.Option(help="Folder of the run; with a run in it, that run continues.")
    ],
    model: Annotated[
        str, typer.Option(help=f"Network to start from, in the recipe's place: {options.KINDS}.")
    ] = "",
    pretrained: options.Pretrained = False,
    weights: options.Weights = None,
    gate: Annotated[
        str,
        typer.Option(
            callback=options.name_gates,
            help="Gate, in the place of the recipe's; none for no gate; or one for each stage: "
            "2=eca,3=seln.",
        ),
    ] = "",
    at: options.At = "",
    stages: options.Stages = "",
    start: options.RecipeStart = "",
    settings: options.Settings = None,
    data: options.Data = None,
    skip_bad: options.SkipBad = False,
    as_json: options.Json = False,
) -> None:
    """Train a recipe, or continue its run."""
    from convgate.storage import ADAPTER, WEIGHTS
    from convgate.train.fit import fit
    from convgate.train.recipe import chosen, load_recipe, override
    from convgate.train.trainer import process

    table = options.stage_gates(gate, stages)
    if len(options.split(gate)) > 1 and not table:
        raise InputError(f"--gate {gate}: one run trains one gate; `convgate study` compares them")
    plan = chosen(
        load_recipe(recipe),
        data=data,
        model=model,
        pretrained=pretrained,
        weights=weights,
        gate=table or gate,
        at=at,
        stages=options.read_stages(stages),
        start=start,
        skip_bad=skip_bad,
    )
    run = override(plan, *settings or ())  # last: a key may be of the gate or model just chosen
    result = fit(run, out)
    if process().rank == 0:  # one of several processes speaks
        found = result.to_dict() | {"out": str(out)}
        files = [str(out / name) for name in (WEIGHTS, ADAPTER) if (out / name).is_file()]
        typer.echo(json.dumps(found, indent=2) if as_json else "\n".join([result.line, *files]))
