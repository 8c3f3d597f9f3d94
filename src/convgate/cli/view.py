"""`convgate view`: pictures of what networks compute."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convgate.cli import options
from convgate.cli.main import app, examples
from convgate.cli.output import progress, show

if TYPE_CHECKING:
    from convgate.charts import Chart
    from convgate.networks import Network

Out = Annotated[
    Path, typer.Option("--out", help="SVG, PNG or PDF to write; the numbers go into a CSV beside.")
]
Count = Annotated[int, typer.Option("--images", help="Pictures to use, evenly spaced; 0 for all.")]
Batch = Annotated[int, typer.Option("--batch", help="Pictures in a forward pass.")]
Workers = Annotated[int, typer.Option("--workers", help="Processes that decode pictures.")]
Dark = Annotated[bool, typer.Option("--dark", help="Draw on a dark ground.")]

view = typer.Typer(no_args_is_help=True, help="Draw what networks compute.")
app.add_typer(view, name="view")


@view.command(
    epilog=examples(
        "convgate view diversity --model runs/none --model runs/seln --data photos.zip",
        "convgate view diversity --model resnet50 --pretrained --data photos --layers 'layer?'",
    )
)
def diversity(  # noqa: PLR0913  every option of the verb is one argument
    models: options.ModelOptions,
    data: Annotated[Path, typer.Option("--data", help="Folder or zip of pictures.")],
    images: Count = 512,
    layers: Annotated[str, typer.Option(help="Other layers, as in 'stages.*.blocks.*'.")] = "",
    out: Out = Path("diversity.svg"),
    force: options.Force = False,
    pretrained: options.Pretrained = False,
    weights: options.Weights = None,
    image_px: options.ImagePx = 0,
    device: options.Device = "cpu",
    batch: Batch = 32,
    workers: Workers = 0,
    skip_bad: options.SkipBad = False,
    dark: Dark = False,
    as_json: options.Json = False,
) -> None:
    """Draw the feature distance of every block: how unlike its channels are."""
    _check(out, force)
    from convgate.pictures.folders import find_pictures
    from convgate.view import measure_diversity, stream
    from convgate.view.diversity import draw_diversity

    networks = _open(models, pretrained, weights, image_px, device)
    pictures = find_pictures(data, count=images, skip_bad=skip_bad)
    how = {"batch": batch, "workers": workers}
    with progress() as report:
        curves = measure_diversity(
            networks,
            lambda prepared: stream(pictures, prepared, on_progress=report, **how),
            options.split(layers),
        )
    rows = [row for curve in curves for row in curve.rows()]
    show(rows if as_json else [curve.summary() for curve in curves], as_json)
    _write(draw_diversity(curves), out, rows, dark, as_json)


@view.command(
    epilog=examples(
        "convgate view scales photos --model runs/seln --class cat",
        "convgate view scales photos.zip --model seresnet50 --pretrained --layers 'layer4.*'",
    )
)
def scales(  # noqa: PLR0913
    source: Annotated[Path, typer.Argument(help="A picture, or a folder or zip of them.")],
    model: options.ModelOption,
    class_name: Annotated[
        str, typer.Option("--class", help="Only pictures in the folder of this class.")
    ] = "",
    images: Count = 512,
    layers: Annotated[str, typer.Option(help="Gates to draw; four of them by default.")] = "",
    out: Out = Path("scales.svg"),
    force: options.Force = False,
    pretrained: options.Pretrained = False,
    weights: options.Weights = None,
    image_px: options.ImagePx = 0,
    device: options.Device = "cpu",
    batch: Batch = 32,
    workers: Workers = 0,
    skip_bad: options.SkipBad = False,
    dark: Dark = False,
    as_json: options.Json = False,
) -> None:
    """Draw the scales that gates give to channels, before and after their activation."""
    _check(out, force)
    from convgate.networks import classes_called
    from convgate.pictures.folders import find_pictures
    from convgate.view import measure_scales, stream
    from convgate.view.scales import choose_layers, draw_scales

    (network,) = _open([model], pretrained, weights, image_px, device)
    called = [network.classes[i] for i in classes_called(network.classes, class_name)]
    folders = [class_name, *called] if class_name else ""
    pictures = find_pictures(source, count=images, class_name=folders, skip_bad=skip_bad)
    how = {"batch": batch, "workers": workers}
    with progress() as report:
        found = measure_scales(network, stream(pictures, network.images, on_progress=report, **how))
    chosen = choose_layers(found, options.split(layers))
    rows = [row for layer in found for row in layer.rows()]
    show(rows if as_json else [layer.summary() for layer in found], as_json)
    title = f"{network.title}: {len(pictures):,} pictures{class_name and f' of {class_name}'}"
    _write(draw_scales(chosen, title), out, rows, dark, as_json)


@view.command(
    epilog=examples(
        "convgate view cam cat.jpg dog.jpg --model runs/none --model runs/ean",
        "convgate view cam cat.jpg --model resnet50 --pretrained --class tabby --layers 4",
        "convgate view cam photos.zip --model runs/ean --method ablationcam --out maps.png",
    )
)
def cam(  # noqa: PLR0913
    sources: Annotated[list[Path], typer.Argument(help="Pictures, or folders or zips of them.")],
    models: options.ModelOptions,
    method: Annotated[str, typer.Option(help="gradcam, ablationcam, layercam, ...")] = "gradcam",
    class_name: Annotated[
        str, typer.Option("--class", help="By name or number; each model's answer by default.")
    ] = "",
    layers: Annotated[
        str, typer.Option("--layers", help="Number of maps, one a resolution; or names of layers.")
    ] = "1",
    images: Annotated[int, typer.Option("--images", help="Pictures of each folder; 0: all.")] = 4,
    out: Out = Path("cam.png"),
    force: options.Force = False,
    pretrained: options.Pretrained = False,
    weights: options.Weights = None,
    image_px: options.ImagePx = 0,
    device: options.Device = "cpu",
    skip_bad: options.SkipBad = False,
    dark: Dark = False,
    as_json: options.Json = False,
) -> None:
    """Draw class activation maps of networks side by side: where they see a class."""
    _check(out, force)
    from convgate.pictures.folders import find_pictures
    from convgate.view import cam_picture, compare_maps
    from convgate.view.cam import numbers

    networks = _open(models, pretrained, weights, image_px, device)
    found = [find_pictures(path, count=images, skip_bad=skip_bad) for path in sources]
    photographs = [(p.name(i), p.load(i)) for p in found for i in range(len(p))]
    asked = {"method": method, "layers": layers, "class_name": class_name}
    with progress() as report:
        maps = compare_maps(networks, photographs, on_progress=report, **asked)
    rows = numbers(maps)
    drawn = cam_picture.draw_maps(
        *cam_picture.side_by_side(maps),
        f"{method}; every map is scaled to its own range: it says where, not how much",
    )
    show(rows if as_json else cam_picture.summary(maps), as_json)
    _write(drawn, out, rows, dark, as_json)


def _check(out: Path, force: bool) -> None:
    """See that the picture and its numbers can be written, before the work for them."""
    from convgate.charts import check_chart_path
    from convgate.storage import check_free

    check_chart_path(out, force=force)
    check_free(out.with_suffix(".csv"), force)


def _open(
    models: Sequence[str], pretrained: bool, weights: Path | None, image_px: int, device: str
) -> "list[Network]":
    from convgate.networks import check_task, open_networks

    how = {"pretrained": pretrained, "weights": weights, "image_px": image_px}
    networks = open_networks(models, device=options.open_device(device), **how)
    for network in networks:
        if network.card.task == "detect":  # its pictures have no common size
            check_task(network, "classify", "view")
    return networks


def _write(
    chart: "Chart", out: Path, rows: Sequence[dict[str, Any]], dark: bool, as_json: bool
) -> None:
    """Write a picture and its numbers, and print where they are."""
    from convgate.charts import write_chart
    from convgate.storage import write_csv

    write_chart(chart, out, dark=dark, force=True)  # `_check` has asked
    write_csv(out.with_suffix(".csv"), rows)
    typer.echo(f"{out}\n{out.with_suffix('.csv')}", err=as_json)
