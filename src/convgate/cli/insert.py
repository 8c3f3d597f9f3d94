"""`convgate insert`: a gate into a network, checked, reported and saved."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convgate.cli import options
from convgate.cli.main import app, examples
from convgate.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from convgate.insertion import InsertReport
    from convgate.networks import GateSpec, Network

SUFFIX = ".safetensors"
SECONDS = 5.0  # of timing, after the warm-up
Gate = Annotated[
    str,
    typer.Option(
        "--gate",
        callback=options.name_gates,
        help="Gate to insert: a name of `convgate ls gates`, or a class of yours: my_gates:MyGate; "
        "or one for each stage: 2=eca,3=seln.",
    ),
]
Replace = Annotated[
    str,
    typer.Option(
        "--replace",
        help="Gate to take the place of: se for the network's own attention, or an inserted gate. "
        "Then --at is not used, and --start is paper by default.",
    ),
]
Start = Annotated[
    str,
    typer.Option(
        "--start", help="How gates start: identity (default; changes no output) or paper."
    ),
]


@app.command(
    epilog=examples(
        "convgate insert resnet50 --pretrained --gate seln --stages 3,4 --out r50.safetensors",
        "convgate insert runs/plain --gate eca --at 'layer[34].*.bn2' --out gated.safetensors",
        "convgate insert resnet50 --gate 2=eca,3=seln --out mixed.safetensors",
        "convgate insert seresnet50 --gate eca --replace se --set kernel_size=5",
    )
)
def insert(  # noqa: PLR0913  every option of the verb is one argument
    model: options.Model,
    gate: Gate,
    pretrained: options.Pretrained = False,
    weights: options.Weights = None,
    at: options.At = "block_end",
    stages: options.Stages = "",
    start: Start = "",
    settings: options.GateSettings = None,
    replaces: Replace = "",
    image_px: options.ImagePx = 0,
    measure: Annotated[bool, typer.Option("--measure", help="Time the gates.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="File for the weights, as NAME.safetensors.")
    ] = None,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Insert a gate into a network, report what it costs, and save the weights."""
    import torch

    from convgate.networks import GateSpec, check_task, open_network

    _check_out(out, force)
    table = options.stage_gates(gate, stages)
    if table and replaces:
        raise InputError(f"--gate {gate}: --replace puts one gate in all places; give its name")
    spec = GateSpec(
        name="" if table else _lone(gate),
        at=at,
        stages=_spelled(table) if table else options.read_stages(stages),
        start=start or ("paper" if replaces else "identity"),  # type: ignore[arg-type]
        replaces=replaces or None,
        options=options.gate_options(settings),
    )
    from convgate.measure.settings import noise

    network = open_network(model, pretrained=pretrained, weights=weights, image_px=image_px)
    check_task(network, "classify", "insert")
    image = noise(network.images.input_size)
    before = _run(network, image)
    report = _put(network, spec, image)
    unchanged = torch.equal(_run(network, image), before)
    if measure:
        report = report.measure(network.model, image, seconds=SECONDS)
    if out is not None:
        _check_out(out, force)  # again: another process may have been faster
        _save(out, network)
    if as_json:
        said = {"unchanged": unchanged, "weights": network.card.weights, "out": out and str(out)}
        typer.echo(json.dumps(report.to_dict() | said, indent=2))
        return
    typer.echo(str(report))
    typer.echo(f"output {'unchanged, bit for bit' if unchanged else 'changed'}")
    if network.card.is_random:
        typer.echo("weights random: nothing was learned yet; see --pretrained and --weights")
    if out is not None:
        typer.echo(str(out))


def _spelled(table: dict[int, str]) -> dict[str, str]:
    """Return a table of stages and gates as recipes spell it."""
    return {str(stage): name for stage, name in table.items()}


def _lone(gate: str) -> str:
    """Return the gate's name.

    Raises:
        InputError: for several: a place holds one gate.
    """
    if len(options.split(gate)) > 1:
        raise InputError(
            f"--gate {gate}: a place holds one gate; insert one, and the next into the file that "
            "this writes, at another site"
        )
    return gate.strip()


def _check_out(out: Path | None, force: bool) -> None:
    from convgate.storage import check_free

    if out is None:
        return
    if out.suffix != SUFFIX:
        raise InputError(f"--out {out}: the file holds safetensors; let its name end in {SUFFIX}")
    check_free(out, force)


def _put(network: "Network", gate: "GateSpec", image: "Tensor") -> "InsertReport":
    from convgate import insertion

    how: dict[str, Any] = {
        "stages": gate.stages,
        "start": gate.start,
        "example_input": image,
        **gate.options,
    }
    if isinstance(gate.stages, dict):
        table = {int(stage): name for stage, name in gate.stages.items()}
        return insertion.insert(network.model, table, at=gate.at, **{**how, "stages": None})
    if gate.replaces is None:
        return insertion.insert(network.model, gate.name, at=gate.at, **how)
    return insertion.replace(network.model, gate.replaces, gate.name, **how)


def _run(network: "Network", image: "Tensor") -> "Tensor":
    import torch

    with torch.inference_mode():
        output: Tensor = network.model(image)
    return output


def _save(path: Path, network: "Network") -> None:
    """Write the weights, and the card of the network with all its gates."""
    from convgate.networks import save_network
    from convgate.networks.card import installed, typed
    from convgate.networks.gates import gates_of

    card = replace(
        network.card,
        gates=gates_of(network.model),
        scores={},
        versions=installed(),
        command=typed(),
        recipe="",
    )
    save_network(path, network.model.state_dict(), card)
