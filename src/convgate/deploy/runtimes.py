"""Run an ONNX graph or an OpenVINO IR: sessions that take and give tensors."""

import io
from collections.abc import Callable, Mapping
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


def run_openvino(graph: Any, dtype: str, threads: int) -> Run:
    """Compile an `openvino.Model` for the CPU with the latency hint.

    Images go in and logits come out without a copy, so the next pass overwrites the last output.

    Raises:
        InputError: if the CPU lacks the dtype.
    """
    core = openvino_core()
    check_capable(core, dtype)
    settings: Mapping[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": PRECISIONS[dtype],
        "INFERENCE_NUM_THREADS": threads,
    }
    compiled = core.compile_model(graph, "CPU", settings)
    request = compiled.create_infer_request()

    def run(x: Tensor) -> Tensor:
        found = request.infer([x.contiguous().numpy()], share_inputs=True, share_outputs=True)
        return torch.from_numpy(found[0])

    return run


def openvino_core() -> Any:
    """Return OpenVINO's entry point.

    Raises:
        InputError: if the package is missing.
    """
    return need("openvino", "engine 'openvino'").Core()


def read_graph(graph: bytes | Path) -> Any:
    """Return an ONNX graph in memory, or an IR or ONNX file, as an `openvino.Model`."""
    source = graph if isinstance(graph, Path) else io.BytesIO(graph)
    return openvino_core().read_model(source)


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
