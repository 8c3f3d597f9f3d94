"""`convgate measure`: cost, memory and latency of networks, with and without gates."""

import json
from typing import Annotated

import typer

from convgate.cli.main import app
from convgate.cli.output import progress

Px = Annotated[int, typer.Option(help="Height and width of the random images.")]
Seconds = Annotated[float, typer.Option(help="Most seconds of timing, after the warm-up.")]
Margin = Annotated[float, typer.Option(help="A smaller share of latency is no difference.")]
Folds = Annotated[bool, typer.Option("--fold", help="Also each network folded for inference.")]
Engine = Annotated[str, typer.Option(help="eager, compile, onnxruntime or openvino.")]
Parts = Annotated[int, typer.Option(help="Parts of the batch side by side (openvino).")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, float16 or int8.")]


@app.command()
def measure(  # noqa: PLR0913  every option of the verb is one argument
    models: Annotated[list[str], typer.Argument(help="Names of `convgate ls models`.")],
    gate: Annotated[str, typer.Option(help="Also with these gates: se,seln.")] = "",
    at: Annotated[str, typer.Option(help="Where the gates go.")] = "block_end",
    fold: Folds = False,
    batch: Annotated[int, typer.Option(help="Images in a forward pass.")] = 1,
    image_px: Px = 224,
    engine: Engine = "eager",
    dtype: Dtype = "float32",
    parts: Parts = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1.")] = "cpu",
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    compile_mode: Annotated[str, typer.Option(help="Of torch.compile.")] = "default",
    channels_last: Annotated[bool, typer.Option(help="Channels innermost.")] = False,
    protocol: Annotated[str, typer.Option(help="convgate, fasternet or timm.")] = "convgate",
    seconds: Seconds = 20.0,
    margin: Margin = 0.02,
    strict: Annotated[bool, typer.Option(help="Fail where the result is unreliable.")] = False,
    distance: Annotated[bool, typer.Option(help="Feature distance on random images.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure networks against the first: `convgate measure resnet50 --gate se,seln`."""
    from convgate.cli.rivals import build_rivals, random_images, with_folded
    from convgate.cli.survey import print_survey, take_survey
    from convgate.deploy.engines import EngineConfig

    course = EngineConfig(engine, dtype, threads, compile_mode, channels_last, parts)
    images = random_images(batch, image_px, device)
    rivals = build_rivals(models, [name for name in gate.split(",") if name], at, device)
    rivals = with_folded(rivals, images) if fold else rivals
    rules = {"seconds": seconds, "margin": margin, "strict": strict}
    with progress() as report:
        survey = take_survey(
            rivals,
            images,
            course=course,
            rules=rules,
            protocol=protocol,
            distance=distance,
            on_progress=report,
        )
    if as_json:
        typer.echo(json.dumps(survey.to_dict(), indent=2))
    else:
        print_survey(survey)
