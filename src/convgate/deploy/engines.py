"""The engines that run a network: eager, torch.compile, ONNX Runtime, OpenVINO."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from convgate.deploy.checks import check_engine, check_parts, check_size
from convgate.deploy.convert import to_onnx
from convgate.deploy.quantise import quantise
from convgate.deploy.runtimes import Run, read_graph, run_onnx, run_openvino
from convgate.errors import InputError
from convgate.measure.parity import check_parity
from convgate.measure.settings import DTYPES, Setting


@dataclass(frozen=True)
class Engine:
    """A network made ready: a callable from images to logits, both float32.

    Args:
        name: One of `convgate.deploy.ENGINES`.
        dtype: Of its arithmetic.
        run: One forward pass.
        told: What a measurement should say of it.
    """

    name: str
    dtype: str
    run: Run
    told: dict[str, str] = field(default_factory=dict)

    def __call__(self, x: Tensor) -> Tensor:
        return self.run(x)


@dataclass(frozen=True)
class _Order:
    """What an engine is built from."""

    name: str
    model: nn.Module
    x: Tensor
    dtype: str
    threads: int
    compile_mode: str
    calibration: Tensor | None
    parts: int


def open_engine(
    name: str,
    model: nn.Module,
    example_input: Tensor,
    *,
    dtype: str = "float32",
    threads: int | None = None,
    compile_mode: str = "default",
    calibration: Tensor | None = None,
    parts: int = 1,
) -> Engine:
    """Make a network ready to run; its output is compared with the eager one first.

    ONNX Runtime and OpenVINO get a graph of exactly the shape of ``example_input`` and run on the
    CPU. The last output of OpenVINO and of compiled networks is overwritten by the next pass.

    Args:
        name: One of `convgate.deploy.ENGINES`.
        model: The network; it is left as it was.
        example_input: Images of the size to run, (N, C, H, W), float32.
        dtype: Of the arithmetic: "float32", "bfloat16", "float16" or "int8", as `ENGINES` says.
        threads: CPU threads; None for torch's own number.
        compile_mode: Of torch.compile.
        calibration: Images that int8 takes its ranges from; ``example_input`` by default.
        parts: Equal parts of the batch that OpenVINO runs side by side.

    Raises:
        InputError: for an unknown engine or dtype, a dtype that the engine or processor lacks, a
            missing extra, parts that do not divide the batch or that the engine lacks, a network
            that cannot be converted, or one whose output differs.
    """
    check_engine(name, dtype)
    check_parts(name, parts, len(example_input))
    if name in ("onnxruntime", "openvino") and example_input.device.type != "cpu":
        raise InputError(f"engine {name!r} runs on the CPU here; do without --device cuda")
    twin = Setting().eager(model)
    assert isinstance(twin, nn.Module)
    check_size(twin, example_input)
    count = threads or torch.get_num_threads()
    order = _Order(name, twin, example_input, dtype, count, compile_mode, calibration, parts)
    engine = Engine(name, dtype, _BUILDERS[name](order), _told(order))
    kind = DTYPES.get(dtype, torch.int8)
    check_parity(f"{name} in {dtype}", engine, twin, example_input, dtype=kind)
    return engine


def _torch(order: _Order) -> Run:
    mode = order.compile_mode if order.name == "compile" else None
    setting, kind = Setting(dtype=order.dtype, compile_mode=mode), DTYPES[order.dtype]
    ready = setting.compiled(setting.eager(order.model))
    if kind == order.x.dtype:
        return ready
    return lambda x: ready(x.to(kind)).float()


def _graph(order: _Order) -> Any:
    name = type(order.model).__name__
    part = order.x[: len(order.x) // order.parts]
    return to_onnx(name, order.model, part, fixed_size=True, fixed_batch=True)


def _onnxruntime(order: _Order) -> Run:
    return run_onnx(_graph(order).SerializeToString(), order.threads)


def _openvino(order: _Order) -> Run:
    graph = read_graph(type(order.model).__name__, _graph(order))
    if order.dtype == "int8":
        images = order.x if order.calibration is None else order.calibration
        graph = quantise(graph, torch.split(images, len(order.x) // order.parts))
    return run_openvino(graph, order.dtype, order.threads, order.parts)


_BUILDERS: dict[str, Callable[[_Order], Run]] = {
    "eager": _torch,
    "compile": _torch,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}


def _told(order: _Order) -> dict[str, str]:
    if order.name in ("eager", "compile"):
        mode = f", torch.compile {order.compile_mode}" if order.name == "compile" else ""
        return {"engine": f"torch {torch.__version__}{mode}"}
    parts = f", {order.parts} parts" if order.parts > 1 else ""
    return {"engine": f"{order.name} {version(order.name)}{parts}"}
