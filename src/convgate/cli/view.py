"""`convgate view`: pictures of what networks compute."""

from pathlib import Path
from typing import Annotated

import typer

from convgate.cli.main import app
from convgate.cli.options import open_device
from convgate.cli.output import progress, show

Models = Annotated[
    list[str], typer.Option("--model", help="A name, or a run's folder or weights; repeatable.")
]
Pretrained = Annotated[bool, typer.Option("--pretrained", help="Fetch named models' weights.")]
Px = Annotated[int, typer.Option(help="Side of the pictures; the model's own by default.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:1.")]
Batch = Annotated[int, typer.Option(help="Pictures in a forward pass.")]
Workers = Annotated[int, typer.Option(help="Processes that decode pictures; 0 for none.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out damaged pictures.")]
Dark = Annotated[bool, typer.Option("--dark", help="On a dark ground.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Count = Annotated[int, typer.Option(help="Pictures, at even steps; 0 for all.")]
Out = Annotated[Path, typer.Option(help="SVG, PNG or PDF; the numbers go beside it.")]

view = typer.Typer(
    no_args_is_help=True, help="Look into networks: `convgate view cam cat.jpg --model run`."
)
app.add_typer(view, name="view")


@view.command()
def diversity(  # noqa: PLR0913  every option of the verb is one argument
    models: Models,
    data: Annotated[Path, typer.Option(help="Folder or zip of pictures.")],
    images: Count = 512,
    out: Out = Path("diversity.svg"),
    layers: Annotated[str, typer.Option(help="Other layers, as in 'stages.*.blocks.*'.")] = "",
    pretrained: Pretrained = False,
    image_px: Px = 0,
    device: Device = "cpu",
    batch: Batch = 32,
    workers: Workers = 0,
    skip_bad: SkipBad = False,
    dark: Dark = False,
    as_json: Json = False,
) -> None:
    """Feature distance of every block: `convgate view diversity --model run --data photos`."""
    from convgate.networks import open_networks
    from convgate.view import diversity as measured
    from convgate.view import figure, find_pictures, stream
    from convgate.view.diversity_picture import draw_diversity

    figure.check_picture(out)
    place = open_device(device)
    networks = open_networks(models, pretrained=pretrained, image_px=image_px, device=place)
    pictures = find_pictures(data, count=images, skip_bad=skip_bad)
    how = {"batch": batch, "workers": workers}
    with progress() as report:
        curves = measured.measure_diversity(
            networks,
            lambda images: stream(pictures, images, on_progress=report, **how),
            [name for name in layers.split(",") if name],
        )
    rows = [row for curve in curves for row in curve.rows()]
    figure.write(draw_diversity(curves, figure.ink(dark)), out, rows, dark=dark)
    show(rows if as_json else [curve.summary() for curve in curves], as_json)


@view.command()
def scales(  # noqa: PLR0913
    source: Annotated[Path, typer.Argument(help="A picture, or a folder or zip of them.")],
    model: Annotated[str, typer.Option(help="A name, or a run's folder or weights.")],
    class_name: Annotated[str, typer.Option("--class", help="Only the folder of this class.")] = "",
    images: Count = 512,
    layers: Annotated[str, typer.Option(help="Gates to draw; four of them by default.")] = "",
    out: Out = Path("scales.svg"),
    pretrained: Pretrained = False,
    image_px: Px = 0,
    device: Device = "cpu",
    batch: Batch = 32,
    workers: Workers = 0,
    skip_bad: SkipBad = False,
    dark: Dark = False,
    as_json: Json = False,
) -> None:
    """Scales before and after the activation: `convgate view scales photos --model run`."""
    from convgate.networks import open_networks
    from convgate.view import figure, find_pictures, measure_scales, stream
    from convgate.view.scales_picture import choose_layers, draw_scales

    figure.check_picture(out)
    place = open_device(device)
    opened = open_networks([model], pretrained=pretrained, image_px=image_px, device=place)
    network = opened[0]
    pictures = find_pictures(source, count=images, class_name=class_name, skip_bad=skip_bad)
    how = {"batch": batch, "workers": workers}
    with progress() as report:
        found = measure_scales(network, stream(pictures, network.images, on_progress=report, **how))
    chosen = choose_layers(found, [name for name in layers.split(",") if name])
    title = f"{network.title}: {len(pictures):,} pictures{class_name and f' of {class_name}'}"
    rows = [row for layer in found for row in layer.rows()]
    figure.write(draw_scales(chosen, title, figure.ink(dark)), out, rows, dark=dark)
    show(rows if as_json else [layer.summary() for layer in found], as_json)


@view.command()
def cam(  # noqa: PLR0913
    sources: Annotated[list[Path], typer.Argument(help="Pictures, or folders or zips of them.")],
    models: Models,
    method: Annotated[str, typer.Option(help="gradcam, ablationcam, layercam, ...")] = "gradcam",
    class_name: Annotated[
        str, typer.Option("--class", help="Name or number; each model's own answer by default.")
    ] = "",
    layers: Annotated[
        str, typer.Option(help="Maps, one a resolution up to the last; or layers by name.")
    ] = "1",
    images: Annotated[int, typer.Option(help="Pictures of each folder; 0 for all.")] = 4,
    out: Out = Path("cam.png"),
    pretrained: Pretrained = False,
    image_px: Px = 0,
    device: Device = "cpu",
    skip_bad: SkipBad = False,
    dark: Dark = False,
    as_json: Json = False,
) -> None:
    """Class activation maps side by side: `convgate view cam cat.jpg --model run`."""
    from convgate.networks import open_networks
    from convgate.view import compare_maps, comparison, figure, find_pictures
    from convgate.view.cam_picture import draw_maps

    figure.check_picture(out)
    place = open_device(device)
    networks = open_networks(models, pretrained=pretrained, image_px=image_px, device=place)
    found = [find_pictures(path, count=images, skip_bad=skip_bad) for path in sources]
    photographs = [(p.name(i), p.load(i)) for p in found for i in range(len(p))]
    asked = {"method": method, "layers": layers, "class_name": class_name}
    with progress() as report:
        seen = compare_maps(networks, photographs, on_progress=report, **asked)
    note = f"{method}; every map is scaled to its own range: it says where, not how much"
    rows = comparison.numbers(seen)
    columns, cells = comparison.side_by_side(seen)
    figure.write(draw_maps(columns, cells, note, figure.ink(dark)), out, rows, dark=dark)
    show(rows if as_json else comparison.summary(seen), as_json)
