"""`convgate measure`: cost, memory and latency of networks, with and without gates."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convgate.cli import options
from convgate.cli.main import app, examples
from convgate.cli.output import progress
from convgate.errors import InputError, unknown

if TYPE_CHECKING:
    from torch import Tensor, nn

    from convgate.networks import Network

PLAIN = "convgate"
CONDITIONS = ("cpu", "device", "threads", "engine", "dtype", "git_commit")  # printed below a table
Fold = Annotated[bool, typer.Option("--fold", help="Measure each network folded, too.")]
Parts = Annotated[int, typer.Option(help="Parts of the batch that openvino runs at the same time.")]
Protocol = Annotated[
    str, typer.Option(help="Rules of the timing: convgate, or fasternet or timm as they publish.")
]
Margin = Annotated[
    float, typer.Option(help="Difference of latency that counts as none, as a share of the base's.")
]
Distance = Annotated[
    bool, typer.Option("--distance", help="Measure the feature distance on random images.")
]


@app.command(
    epilog=examples(
        "convgate measure resnet50 --gate se,seln",
        "convgate measure resnet50 --gate 2=eca,3=seln",
        "convgate measure runs/plain runs/seln --engine openvino --fold",
        "convgate measure resnet50 --gate seln --stages 3,4 --set reduction=8 --batch 8",
    )
)
def measure(  # noqa: PLR0913  every option of the verb is one argument
    models: options.Models,
    pretrained: options.Pretrained = False,
    weights: options.Weights = None,
    gate: options.Gates = "",
    at: options.At = "block_end",
    stages: options.Stages = "",
    start: options.Start = "paper",
    settings: options.GateSettings = None,
    fold: Fold = False,
    batch: Annotated[int, typer.Option(help="Images in a forward pass.")] = 1,
    image_px: options.ImagePx = 0,
    engine: options.Engine = "eager",
    dtype: options.Dtype = "float32",
    parts: Parts = 1,
    device: options.Device = "cpu",
    threads: Annotated[int | None, typer.Option(help="CPU threads; torch's own number.")] = None,
    compile_mode: Annotated[str, typer.Option(help="Mode of torch.compile.")] = "default",
    channels_last: Annotated[
        bool, typer.Option("--channels-last", help="Store images with the channels innermost.")
    ] = False,
    protocol: Protocol = PLAIN,
    seconds: Annotated[float, typer.Option(help="Max seconds of timing, after warm-up.")] = 20.0,
    margin: Margin = 0.02,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if a guard fails.")] = False,
    distance: Distance = False,
    as_json: options.Json = False,
) -> None:
    """Measure cost, memory and latency of networks; the first is the base of the comparison."""
    from convgate.deploy import EngineConfig
    from convgate.folding import fold as folded
    from convgate.measure import PRESETS, comparison_table

    if protocol not in (PLAIN, *PRESETS):
        raise unknown("protocol", protocol, (PLAIN, *PRESETS))
    config = EngineConfig(engine, dtype, threads, compile_mode, channels_last, parts)
    networks = _open(
        models,
        image_px=image_px,
        pretrained=pretrained,
        weights=weights,
        device=options.open_device(device),
    )
    images = _random_images(batch, networks[0])
    how = {"at": at, "stages": options.read_stages(stages), "start": start}
    how |= options.gate_options(settings)
    candidates, left_out = _with_gates(
        networks, options.named_gates(gate, stages), images[:1], **how
    )
    if fold:
        both = ({n: m, f"{n} folded": folded(m, images)} for n, m in candidates.items())
        candidates = {name: model for pair in both for name, model in pair.items()}
    rules = {"seconds": seconds, "margin": margin, "strict": strict} if protocol == PLAIN else {}
    counts = _count(candidates, images, config, distance)
    with progress() as report:
        time = _time(candidates, images, config, protocol, on_progress=report, **rules)
    if as_json:
        facts = {name: each.to_dict() for name, each in counts.items()}
        found = {"models": facts, "latency": time.to_dict(), "left_out": left_out}
        typer.echo(json.dumps(found, indent=2))
        return
    table = comparison_table(counts, time)
    said = [f"left out: {name}: {reason}" for name, reason in left_out.items()]
    typer.echo(f"{replace(table, notes=[*said, *table.notes])}\n")
    known = {key: time.environment[key] for key in CONDITIONS if key in time.environment}
    where = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in known.items())
    typer.echo(f"{where}; all conditions: --json")


def _open(models: Sequence[str], *, image_px: int, **how: Any) -> "list[Network]":
    """Open networks for images of one size: the first one's own, unless another is asked for."""
    from convgate.networks import check_task, open_networks, resized

    networks = open_networks(models, image_px=image_px, **how)
    first, px = networks[0], networks[0].image_px
    for network in networks:
        check_task(network, "classify", "measure")
        if network.in_chans != first.in_chans:
            raise InputError(
                f"{network.ref}: takes images with {network.in_chans} channels and {first.ref} "
                f"with {first.in_chans}; measure them apart"
            )
    return [n if n.image_px == px else resized(n, px) for n in networks]


def _random_images(batch: int, network: "Network") -> "Tensor":
    from convgate.measure.settings import noise

    if batch < 1:
        raise InputError(f"batch={batch} leaves no image; give at least 1")
    return noise(network.images.input_size, batch).to(network.device)


def _with_gates(
    networks: "Sequence[Network]",
    gates: "Mapping[str, str | dict[int, str]]",
    image: "Tensor",
    **how: Any,
) -> "tuple[dict[str, nn.Module], dict[str, str]]":
    """Return each network and, after it, the same with each gate; and why others do not fit.

    Raises:
        InputError: if none of them fits.
    """
    from convgate.insertion import insert

    labels = [network.label for network in networks]
    candidates: dict[str, nn.Module] = {}
    left_out: dict[str, str] = {}
    for network in networks:
        candidates[network.label] = network.model
        for words, gate in gates.items():
            name, model = f"{network.label} + {words}", copy.deepcopy(network.model)
            name += " (inserted now)" if name in labels else ""
            try:
                insert(model, gate, example_input=image, **how)
            except InputError as error:
                left_out[name] = str(error)
            else:
                candidates[name] = model
    if gates and len(candidates) == len(networks):
        raise InputError("; ".join(dict.fromkeys(left_out.values())))
    return candidates, left_out


def _count(
    candidates: "Mapping[str, nn.Module]", images: "Tensor", config: Any, distance: bool
) -> dict[str, Any]:
    from convgate.measure import Setting, count_all

    setting = Setting(**config.eager_setting)
    seen = images if distance else None
    return {
        name: count_all(model, images, images=seen, setting=setting)
        for name, model in candidates.items()
    }


def _time(
    candidates: "Mapping[str, nn.Module]",
    images: "Tensor",
    config: Any,
    protocol: str,
    **rules: Any,
) -> Any:
    from convgate.measure import run_preset

    if protocol == PLAIN:
        return config.compare(candidates, images, **rules)
    ready = config.prepare(candidates, images)
    time = run_preset(ready.models, images, protocol, **config.setting, **rules)
    return replace(time, environment=time.environment | ready.notes)
