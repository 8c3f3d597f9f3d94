"""A Ray cluster as a study uses it: its nodes, what a cell needs, and where runs lie."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from convgate.cluster.files import RunFiles, SharedFolder, ThroughRay, open_files
from convgate.cluster.start import LOCAL, check_ray, first_line, start
from convgate.errors import InputError
from convgate.storage import write_text

T = TypeVar("T")

ANSWER_S = 300.0
"""How long a node may take for its first answer, in which it loads torch."""


@dataclass(frozen=True, kw_only=True)
class RayOptions:
    """Where trainings run, and what each of them takes.

    Args:
        address: Of a running Ray, as in "auto" or "10.0.0.1:6379"; "local" starts one here.
        gpus_per_cell: GPUs of one training: a part of one, or as many as train it together; None
            for one where there are GPUs.
        cpus_per_cell: Cores of one training.
        storage_path: Where runs lie: a folder that all nodes share, or an address of an object
            storage; None brings them back through Ray.
        latency_on: The node that latency is measured on, by name or address; None for this one.
        processes: How many processes train one cell together; None for one a whole GPU.
    """

    address: str = LOCAL
    gpus_per_cell: float | None = None
    cpus_per_cell: float = 1.0
    storage_path: str | None = None
    latency_on: str | None = None
    processes: int | None = None

    def __post_init__(self) -> None:
        gpus = self.gpus_per_cell or 0.0
        if gpus < 0 or (gpus > 1 and gpus != int(gpus)):
            raise InputError(f"--gpus-per-cell {gpus:g}: a part of one GPU, or a whole number")
        if not 0 < self.cpus_per_cell < float("inf"):
            raise InputError(f"--cpus-per-cell {self.cpus_per_cell:g} must be above 0")


class RaySession:
    """A connection to a cluster.

    Args:
        ray: The package.
        options: What cells take.
        runs: The driver's own folder of runs.
    """

    def __init__(self, ray: Any, options: RayOptions, runs: Path) -> None:
        self.ray, self.options, self.runs = ray, options, runs
        self.here = ray.get_runtime_context().get_node_id()
        has_gpus = ray.cluster_resources().get("GPU", 0) > 0
        gpus = options.gpus_per_cell
        self.gpus = float(has_gpus) if gpus is None else gpus
        self.processes = options.processes or max(1, int(self.gpus))
        self._keeps_here = options.storage_path is None
        self.files = self._open_files()
        if self.processes > 1 and not isinstance(self.files, SharedFolder):
            raise InputError(
                f"a cell of {self.processes} processes needs a folder that all nodes share; name "
                "it with --storage-path"
            )

    def _open_files(self) -> RunFiles:
        if self.options.storage_path is not None:
            return open_files(self.options.storage_path)
        if self.options.address == LOCAL:
            return SharedFolder(self.runs)
        return ThroughRay.start(self.ray, self.runs, self._pin(self.here))

    @property
    def slots(self) -> int:
        """How many cells the cluster can train at once."""
        has = self.ray.cluster_resources()
        by_cpu = has.get("CPU", 0) / (self.options.cpus_per_cell * self.processes)
        by_gpu = has.get("GPU", 0) / self.gpus if self.gpus else by_cpu
        return int(min(by_cpu, by_gpu))

    def nodes(self) -> list[dict[str, Any]]:
        return [node for node in self.ray.nodes() if node["Alive"]]

    def check(self, paths: Sequence[Path]) -> None:
        """Ask that cells fit the cluster, and that every node has what they read and write.

        Raises:
            InputError: naming the node and what it lacks.
        """
        if not self.slots:
            raise InputError(
                f"no cell with {self.options.cpus_per_cell * self.processes:g} cores and "
                f"{self.gpus:g} GPUs fits the cluster, which has {self._capacity()}"
            )
        mark = self._leave_mark()
        try:
            for node, found in self._ask_all(_lacking, [*map(str, paths)], mark, self.files):
                if found:
                    raise InputError(f"node {_name(node)} {found}")
        finally:
            if mark is not None:
                Path(mark).unlink(missing_ok=True)

    def _capacity(self) -> str:
        has = self.ray.cluster_resources()
        return f"{has.get('CPU', 0):g} cores and {has.get('GPU', 0):g} GPUs"

    def _leave_mark(self) -> str | None:
        """Write a file that every node must see where runs lie in a folder that all share."""
        if self._keeps_here or not isinstance(self.files, SharedFolder):
            return None
        self.files.root.mkdir(parents=True, exist_ok=True)
        mark = self.files.root / f".seen-by-all-{os.getpid()}"
        write_text(mark, "")
        return str(mark)

    def _ask_all(self, question: Callable[..., T], *args: Any) -> Iterator[tuple[Any, T]]:
        """Yield each node with its answer."""
        ask = self.ray.remote(num_cpus=0, max_retries=3)(question)
        asked = [
            (node, ask.options(scheduling_strategy=self._pin(node["NodeID"])).remote(*args))
            for node in self.nodes()
        ]
        for node, answer in asked:
            try:
                yield node, self.ray.get(answer, timeout=ANSWER_S)
            except self.ray.exceptions.TaskUnschedulableError:  # the node has left since
                continue
            except (self.ray.exceptions.RayError, ImportError) as error:
                if node["NodeID"] not in {other["NodeID"] for other in self.nodes()}:
                    continue
                raise InputError(
                    f"node {_name(node)} cannot run convgate ({first_line(error)}); install the "
                    "same version there"
                ) from None

    def bring(self, name: str, folder: Path) -> None:
        """Have a finished run in a folder of the driver's, where it is not already."""
        if not self._keeps_here:
            self.files.fetch(name, folder)

    def alone_on(self, node: dict[str, Any], act: Callable[[], T]) -> T:
        """Return what ``act`` does on a node that for so long runs nothing else of Ray's."""
        has = node["Resources"]
        whole = {"num_cpus": has.get("CPU", 0), "num_gpus": has.get("GPU", 0)}
        pinned = self._pin(node["NodeID"])
        task = self.ray.remote(max_retries=3, **whole)(_call).options(scheduling_strategy=pinned)
        return cast(T, self.answer(task.remote(act)))

    def answer(self, asked: Any) -> Any:
        """Return a task's answer; an error that a caller can mend arrives as it was raised."""
        try:
            return self.ray.get(asked)
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, (InputError, OSError)):
                raise error.cause from None
            raise

    def find(self, name: str | None) -> dict[str, Any]:
        """Return the one node of a name or an address; the driver's for None."""
        nodes = self.nodes()
        if name is None:
            return next(node for node in nodes if node["NodeID"] == self.here)
        found = [node for node in nodes if name in _names(node)]
        if len(found) != 1:
            known = ", ".join(_name(node) for node in nodes)
            raise InputError(f"--latency-on {name}: no node of the cluster, which has {known}")
        return found[0]

    def _pin(self, node_id: str) -> Any:
        strategies = self.ray.util.scheduling_strategies
        return strategies.NodeAffinitySchedulingStrategy(node_id, soft=False)


def _call(act: Callable[[], T]) -> T:
    return act()


def _lacking(paths: Sequence[str], mark: str | None, files: RunFiles) -> str:
    """Say what this node lacks, in the words behind its name; nothing where it has all."""
    import convgate.train  # noqa: F401 - a node without it is told at once

    for path in paths:
        if not Path(path).exists():
            return f"has no {path}; put it there, or share its folder"
    if mark is not None and not Path(mark).exists():
        return f"does not see the driver's {Path(mark).parent}; share it, or leave out storage_path"
    try:
        files.check()
    except InputError as error:
        return f"cannot keep its runs: {error}"
    return ""


def _names(node: dict[str, Any]) -> set[str]:
    known = ("NodeName", "NodeManagerHostname", "NodeManagerAddress", "NodeID")
    return {str(node.get(key)) for key in known}


def _name(node: dict[str, Any]) -> str:
    host, address = node["NodeManagerHostname"], node["NodeManagerAddress"]
    name = node.get("NodeName") or host
    return name if name == address else f"{name} ({address})"


@contextmanager
def open_session(options: RayOptions, runs: Path) -> Iterator[RaySession]:
    """Connect to a cluster, and leave it at the end.

    Raises:
        InputError: if Ray is not installed, or none answers at the address.
    """
    check_ray()
    import ray
    import ray.util.scheduling_strategies

    start(ray, options.address)
    try:
        yield RaySession(ray, options, runs)
    finally:
        ray.shutdown()
