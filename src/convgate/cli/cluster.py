"""Options of verbs that train many networks: their gates, where Ray is, what a training takes."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from convgate.cli.options import name_gates, split
from convgate.errors import InputError

if TYPE_CHECKING:
    from convgate.cluster import RayOptions


class RayCommand(TyperCommand):
    """A verb whose --ray may go without an address, which is then "local"."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--ray" in args:
            after = args.index("--ray") + 1
            if after == len(args) or args[after].startswith("-"):
                args = [*args[:after], "local", *args[after:]]
        return super().parse_args(ctx, args)


Ray = Annotated[
    str | None,
    typer.Option(
        metavar="[ADDRESS]",
        help="Train on a Ray cluster: auto, HOST:PORT, or none to start Ray here.",
    ),
]
GpusPerCell = Annotated[
    float | None, typer.Option(help="With --ray, GPUs of one training: 0.5, 1, 8. 1 by default.")
]
CpusPerCell = Annotated[float, typer.Option(help="With --ray, cores of one training.")]
StoragePath = Annotated[
    str | None,
    typer.Option(
        help="With --ray, where runs lie: a folder of all nodes, s3://..., gs://...; none brings "
        "them back through Ray."
    ),
]
LatencyOn = Annotated[
    str | None,
    typer.Option(help="With --ray, the node that latency is measured on; this one by default."),
]


def ray_options(
    address: str | None,
    gpus: float | None,
    cpus: float,
    storage_path: str | None,
    latency_on: str | None,
) -> "RayOptions | None":
    """Return what was typed of Ray; None without --ray."""
    from convgate.cluster import RayOptions

    if address is None:
        given = {
            "--gpus-per-cell": gpus is not None,
            "--cpus-per-cell": cpus != 1,
            "--storage-path": storage_path is not None,
            "--latency-on": latency_on is not None,
        }
        alone = next((name for name, typed in given.items() if typed), None)
        if alone is not None:
            raise InputError(f"{alone} is for trainings on a Ray cluster; add --ray")
        return None
    return RayOptions(
        address=address,
        gpus_per_cell=gpus,
        cpus_per_cell=cpus,
        storage_path=storage_path,
        latency_on=latency_on,
    )


def name_gates_alone(listed: str | None) -> str | None:
    """Import gates as `name_gates` does; refuse those that have a stage."""
    if "=" in (listed or ""):
        names = ",".join(dict.fromkeys(word.rpartition("=")[2].strip() for word in split(listed)))
        raise InputError(
            f"--gate {listed}: gates by stage are for insert, measure and train; name them alone, "
            f"--gate {names}, and their stages in --stages; a study takes different gates in its "
            "stages from [gate.stages] of the recipe"
        )
    return name_gates(listed)
