"""Run an ONNX graph or an OpenVINO IR: sessions that take and give tensors."""

import io
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convgate.deploy.convert import INPUT
from convgate.deploy.extras import need
from convgate.errors import InputError

Run = Callable[[Tensor], Tensor]

PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "int8": "f32"}
"""Our word -> OpenVINO's for the arithmetic; an int8 graph says itself which operators are."""
NOT_CARRIED_OVER = {"DFT"}
"""ONNX operators that OpenVINO reads and computes wrongly: nan for a real spectrum's way back."""
_CAPABILITIES = {"bfloat16": "BF16", "float16": "FP16", "int8": "INT8"}


def run_onnx(graph: bytes | Path, threads: int) -> Run:
    """Open an ONNX graph in ONNX Runtime on the CPU.

    Raises:
        InputError: if the package is missing.
    """
    ort = need("onnxruntime", "engine 'onnxruntime'")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # what goes wrong is raised, too
    source = str(graph) if isinstance(graph, Path) else graph
    session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])

    def run(x: Tensor) -> Tensor:
        (y,) = session.run(None, {INPUT: x.contiguous().numpy()})
        return torch.from_numpy(y)

    return run


def run_openvino(graph: Any, dtype: str, threads: int, parts: int = 1) -> Run:
    """Compile an `openvino.Model` for the CPU.

    Images go in and logits come out without a copy, so the next pass overwrites the last output.
    A batch in several parts runs them side by side, each on a thread of its own or on its share of
    them: a part's feature maps fit a core's cache sooner, and no thread waits for another inside
    a layer. The graph is then one of a part.

    Args:
        graph: The network.
        dtype: Of the arithmetic.
        threads: CPU threads of all parts together.
        parts: Equal parts of a batch.

    Raises:
        InputError: if the CPU lacks the dtype.
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


def _side_by_side(requests: Sequence[Any]) -> Run:
    def run(x: Tensor) -> Tensor:
        for request, part in zip(requests, x.contiguous().chunk(len(requests)), strict=True):
            request.start_async([part.numpy()], share_inputs=True)
        for request in requests:
            request.wait()
        found = [torch.from_numpy(request.get_output_tensor(0).data) for request in requests]
        return torch.cat(found)

    return run


@cache
def openvino_core() -> Any:
    """Return OpenVINO's entry point, one for the process.

    Its plugin gives the thread that loads it a stack for signals and takes the memory back when it
    goes; from another thread that leaves a signal nowhere to go.

    Raises:
        InputError: if the package is missing.
    """
    return need("openvino", "engine 'openvino'").Core()


def read_graph(name: str, graph: Any) -> Any:
    """Return an `onnx.ModelProto` as an `openvino.Model`.

    Args:
        name: What to call the network in an error.
        graph: The ONNX graph.

    Raises:
        InputError: for a network with an operator that OpenVINO does not carry over.
    """
    core = openvino_core()
    lacking = sorted({node.op_type for node in graph.graph.node} & NOT_CARRIED_OVER)
    if lacking:
        raise InputError(
            f"{name} cannot go into OpenVINO: operator {lacking[0]} comes out wrong there; "
            "use ONNX Runtime"
        )
    try:
        return core.read_model(io.BytesIO(graph.SerializeToString()))
    except RuntimeError as error:
        found = re.search(r"Conversion failed for (\S+)|operations?: (.+)", str(error))
        where = f"operator {found[1] or found[2]}" if found else " ".join(str(error).split())[:160]
        raise InputError(f"{name} cannot go into OpenVINO: {where}") from error


def check_capable(core: Any, dtype: str) -> None:
    """Ask that the CPU computes in ``dtype`` itself; OpenVINO would take another silently.

    Raises:
        InputError: if it does not.
    """
    wanted = _CAPABILITIES.get(dtype)
    has = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if wanted is not None and wanted not in has:
        known = ["float32", *(name for name, word in _CAPABILITIES.items() if word in has)]
        raise InputError(
            f"OpenVINO has no {dtype} on this processor; choose from {', '.join(known)}"
        )
