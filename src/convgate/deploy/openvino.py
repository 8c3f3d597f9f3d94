"""OpenVINO: graphs from ONNX, int8, compiled networks, and files (.xml with .bin beside it)."""

import io
import logging
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convgate.deploy.extras import need
from convgate.deploy.onnx import Forward
from convgate.errors import CorruptFile, InputError
from convgate.networks.card import KEY

PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "int8": "f32"}
"""Our word -> OpenVINO's for the arithmetic; an int8 graph says itself which operators are."""
COMPUTED_WRONGLY = {"DFT"}
"""ONNX operators that OpenVINO reads and computes wrongly: nan for a real spectrum's way back."""
_CAPABILITIES = {"bfloat16": "BF16", "float16": "FP16", "int8": "INT8"}


@cache
def openvino_core() -> Any:
    """Return OpenVINO's entry point, one for the process.

    Its plugin gives the thread that loads it a stack for signals and takes the memory back when it
    goes; from another thread that leaves a signal nowhere to go.
    """
    return need("openvino", "engine 'openvino'").Core()


def from_onnx(name: str, graph: Any) -> Any:
    core = openvino_core()
    wrong = sorted({node.op_type for node in graph.graph.node} & COMPUTED_WRONGLY)
    if wrong:
        raise InputError(
            f"{name} cannot go into OpenVINO: operator {wrong[0]} comes out wrong there; "
            "use ONNX Runtime"
        )
    try:
        return core.read_model(io.BytesIO(graph.SerializeToString()))
    except RuntimeError as error:
        found = re.search(r"Conversion failed for (\S+)|operations?: (.+)", str(error))
        where = f"operator {found[1] or found[2]}" if found else " ".join(str(error).split())[:160]
        raise InputError(f"{name} cannot go into OpenVINO: {where}") from error


def quantise(graph: Any, batches: Iterable[Tensor]) -> Any:
    """Return an `openvino.Model` with int8 operators where the quantiser finds them worth it.

    Weights and activations are symmetric around zero, with a scale for each output channel and
    each tensor.
    """
    nncf = need("nncf", "int8")
    images = [x.contiguous().numpy() for x in batches]
    with _silent():
        return nncf.quantize(graph, nncf.Dataset(images), subset_size=len(images))


def run_openvino(graph: Any, dtype: str, threads: int, parts: int = 1) -> Forward:
    """Compile an `openvino.Model` for the CPU.

    Images go in and logits come out without a copy, so the next pass overwrites the last output.
    A batch in several parts runs them side by side, each on a thread of its own or on its share of
    them: a part's feature maps fit a core's cache sooner, and no thread waits for another inside
    a layer. The graph is then one of a part.
    """
    core = openvino_core()
    check_capable(core, dtype)
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": PRECISIONS[dtype],
        "INFERENCE_NUM_THREADS": threads,
    }
    many = parts > 1
    settings |= {"NUM_STREAMS": min(parts, threads)} if many else {"PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(graph, "CPU", settings)
    if many:
        return _side_by_side([compiled.create_infer_request() for _ in range(parts)])
    request = compiled.create_infer_request()

    def run(x: Tensor) -> Tensor:
        found = request.infer([x.contiguous().numpy()], share_inputs=True, share_outputs=True)
        return torch.from_numpy(found[0])

    return run


def _side_by_side(requests: Sequence[Any]) -> Forward:
    def run(x: Tensor) -> Tensor:
        for request, part in zip(requests, x.contiguous().chunk(len(requests)), strict=True):
            request.start_async([part.numpy()], share_inputs=True)
        for request in requests:
            request.wait()
        found = [torch.from_numpy(request.get_output_tensor(0).data) for request in requests]
        return torch.cat(found)

    return run


def check_capable(core: Any, dtype: str) -> None:
    """Ask that the CPU computes in ``dtype`` itself; OpenVINO would take another silently."""
    wanted = _CAPABILITIES.get(dtype)
    has = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if wanted is not None and wanted not in has:
        known = ["float32", *(name for name, word in _CAPABILITIES.items() if word in has)]
        raise InputError(
            f"OpenVINO has no {dtype} on this processor; choose from {', '.join(known)}"
        )


def write_openvino(graph: Any, card: str, path: Path, dtype: str) -> None:
    """Write an `openvino.Model` with its card, weights in float16 where ``dtype`` says so."""
    graph.set_rt_info(card, KEY)
    openvino = need("openvino", "format 'openvino'")
    try:
        openvino.save_model(graph, path, compress_to_fp16=dtype == "float16")
    except RuntimeError as error:  # "iostream error", whatever the system said
        for suffix in (".bin", ".xml"):
            _write_more(path.with_suffix(suffix))
        raise InputError(f"{path}: OpenVINO could not write it ({error})") from error


def _write_more(path: Path) -> None:
    """Add a megabyte to a file, for the system's own error where it takes none."""
    with path.open("ab", buffering=0) as file:
        for _ in range(16):
            file.write(bytes(1 << 16))


def read_openvino(path: Path, threads: int) -> tuple[Forward, str | None]:
    """Read an .xml file with its .bin: a network that computes in float32, and its card."""
    core = openvino_core()
    try:
        graph = core.read_model(path)
    except RuntimeError as error:
        beside = path.with_suffix(".bin").name
        raise CorruptFile(
            f"{path}: damaged, or {beside} is not beside it; export the network again"
        ) from error
    card = graph.get_rt_info(KEY).astype(str) if graph.has_rt_info(KEY) else None
    return run_openvino(graph, "float32", threads), card


@contextmanager
def _silent() -> Iterator[None]:
    """Keep its bars off the standard output, which may be a table or JSON of ours."""
    logger = logging.getLogger("nncf")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.filterwarnings("ignore", module=r"(nncf|openvino)\b.*")
            yield
    finally:
        logger.setLevel(level)
