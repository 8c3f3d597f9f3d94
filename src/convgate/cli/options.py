"""Options that several verbs have: one name, one meaning, one reading."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from convgate.errors import InputError


def split(listed: str | None) -> list[str]:
    """Return the names in "se,seln"."""
    return [name.strip() for name in (listed or "").split(",") if name.strip()]


def name_gates(listed: str | None) -> str | None:
    """Import the classes among gates that the command line names: "se,my_gates:MyGate"."""
    names = [name.partition("=")[2] or name for name in split(listed)]
    outside = [name for name in names if ":" in name]
    if outside:
        from convgate.gates import GATES

        look_here()
        for name in outside:
            GATES.load(name)
    return listed


def look_here() -> None:
    """Let modules of the current folder be imported, after all others."""
    here = str(Path.cwd())
    if not {"", here} & set(sys.path):
        sys.path.append(here)


KINDS = "a name, a run's folder, a weights or adapter file, or a hub folder"

Model = Annotated[str, typer.Argument(help=f"The network: {KINDS}.")]
Models = Annotated[list[str], typer.Argument(help=f"The networks, each {KINDS}.")]
ModelOption = Annotated[str, typer.Option("--model", help=f"The network: {KINDS}.")]
ModelOptions = Annotated[
    list[str], typer.Option("--model", help=f"A network: {KINDS}. Repeatable.")
]
Pretrained = Annotated[
    bool, typer.Option("--pretrained", help="Load the library's weights into a network by name.")
]
Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights", help="Load this checkpoint into a network by name, or below an adapter."
    ),
]
Gates = Annotated[
    str,
    typer.Option(
        "--gate",
        callback=name_gates,
        help="Gate, or several with commas: se,my_gates:MyGate; or one for each stage: 2=eca,3=se.",
    ),
]
At = Annotated[str, typer.Option("--at", help="Site, or pattern of module paths, for the gates.")]
Stages = Annotated[str, typer.Option("--stages", help="Stages, as in 2,3; all by default.")]
Start = Annotated[
    str, typer.Option("--start", help="How gates start: identity (changes no output) or paper.")
]
RecipeStart = Annotated[
    str,
    typer.Option(
        "--start",
        help="How gates start: identity (changes no output) or paper; by default identity in "
        "networks that start from weights, and paper in others.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Change one key: reduction=8 of the gate, optimizer.lr=0.1 of the recipe. Repeatable.",
    ),
]
GateSettings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change one option of the gate: reduction=8. Repeatable."),
]
ImagePx = Annotated[
    int,
    typer.Option(
        "--image-px",
        show_default=False,
        help="Height and width of images; the model's own by default.",
    ),
]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:1.")]
Engine = Annotated[
    str, typer.Option(help="Engine used for timing: eager, compile, onnxruntime, openvino.")
]
Dtype = Annotated[
    str, typer.Option(help="Number type used for timing: float32, bfloat16, float16, int8.")
]
FoldShipped = Annotated[
    bool, typer.Option("--fold", help="Time the networks folded, as export ships them.")
]
RecipeName = Annotated[
    str, typer.Argument(help="A recipe by name (see ls recipes), or a TOML file.")
]
Data = Annotated[Path | None, typer.Option("--data", help="Folder or zip of the data.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out damaged pictures.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def read_stages(text: str) -> tuple[int, ...] | None:
    """Read "2,3"; None for an empty text.

    Raises:
        InputError: for anything else.
    """
    words = split(text)
    if not all(word.isdecimal() for word in words):
        raise InputError(f"--stages {text!r} is no list of numbers; write it as in 2,3")
    return tuple(map(int, words)) or None


def stage_gates(gate: str, stages: str = "") -> dict[int, str] | None:
    """Read "2=eca,3=seln", a gate for each stage; None for gates without stages.

    Raises:
        InputError: for a stage that is no number or has two gates, gates without a stage among
            others, or ``stages`` beside them.
    """
    words = split(gate)
    if not any("=" in word for word in words):
        return None
    found: dict[int, str] = {}
    for word in words:
        stage, _, name = (part.strip() for part in word.partition("="))
        if not stage.isdecimal() or not name or int(stage) in found:
            raise InputError(
                f"--gate {gate}: {word!r} is no stage with its own gate; write one for each stage, "
                "as in 2=eca,3=seln"
            )
        found[int(stage)] = name
    if stages:
        raise InputError(
            f"--stages {stages}: --gate {gate} names the stages already; do without --stages"
        )
    return found


def named_gates(gate: str, stages: str) -> dict[str, str | dict[int, str]]:
    """Return the gates to compare, all known, by what they are called; a table of stages is one."""
    from convgate.gates import GATES

    table = stage_gates(gate, stages)
    for name in table.values() if table else split(gate):
        GATES.check(name)
    return {gate: table} if table else {name: name for name in split(gate)}


def gate_options(settings: Sequence[str] | None) -> dict[str, Any]:
    """Read --set where only a gate can be meant: "reduction=8" or "gate.options.reduction=8".

    Raises:
        InputError: for a key of a recipe, or without a value.
    """
    from convgate.train.recipe import read_setting

    options = {}
    for key, value in map(read_setting, settings or ()):
        name = key.removeprefix("gate.options.")
        if "." in name:
            raise InputError(f"--set {key}: is a key of a recipe; this verb takes a gate's options")
        if name in ("at", "stages", "start"):
            raise InputError(f"--set {key}: is no option of a gate; give --{name}")
        options[name] = value
    return options


def open_device(name: str) -> Any:
    """Return the torch device called ``name``.

    Raises:
        InputError: if there is none such on this machine.
    """
    import torch

    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name!r} is not on this machine; use cpu") from error
    return device
