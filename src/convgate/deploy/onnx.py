"""ONNX: a network as a graph, run by ONNX Runtime, written and read as an .onnx file."""

import copy
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from convgate.deploy.extras import need
from convgate.deploy.same_padding import with_plain_padding
from convgate.errors import CorruptFile, InputError
from convgate.networks.card import KEY

Forward = Callable[[Tensor], Tensor]
"""One pass of a network that is ready to run: images to logits, both float32."""

OPSET = 20
"""The first with GELU as one operator; ONNX Runtime reads it since 1.17, OpenVINO since 2024."""
INPUT, OUTPUT = "images", "logits"


class HalfPrecision(nn.Module):
    """A network in float16 between images and logits in float32: x (N, C, H, W) -> (N, K)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).half()

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x.half()).float()


def to_onnx(name: str, model: nn.Module, x: Tensor, *, fixed_size: bool, fixed_batch: bool) -> Any:
    """Convert a network; its images are called "images" and its output "logits"."""
    for package in ("onnx", "onnxscript"):
        need(package, "the export")
    model, shapes = with_plain_padding(model), _shapes(fixed_size, fixed_batch)
    with _explained(name, fixed_size), _quiet(), torch.no_grad():
        program = torch.export.export(model, (x,), dynamic_shapes=shapes)
        converted: Any = torch.onnx.export(
            _without_adaptive_pools(program),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            verbose=False,
        )
    return converted.model_proto


def run_onnx(graph: bytes, threads: int) -> Forward:
    return _forward(_session(graph, threads))


def write_onnx(graph: Any, card: str, path: Path, dtype: str) -> None:
    """Write an `onnx.ModelProto` with its card; it already computes in ``dtype``."""
    onnx = need("onnx", "format 'onnx'")
    onnx.helper.set_model_props(graph, {KEY: card})
    onnx.save_model(graph, path)


def read_onnx(path: Path, threads: int) -> tuple[Forward, str | None]:
    """Read an .onnx file: the network, ready to run, and its card."""
    try:
        session = _session(str(path), threads)
    except InputError:
        raise
    except Exception as error:  # its own exception types, one for each status
        raise CorruptFile(f"{path}: damaged; export the network again") from error
    return _forward(session), session.get_modelmeta().custom_metadata_map.get(KEY)


def _session(source: bytes | str, threads: int) -> Any:
    ort = need("onnxruntime", "engine 'onnxruntime'")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # what goes wrong is raised, too
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _forward(session: Any) -> Forward:
    def run(x: Tensor) -> Tensor:
        (y,) = session.run(None, {INPUT: x.contiguous().numpy()})
        return torch.from_numpy(y)

    return run


def _shapes(fixed_size: bool, fixed_batch: bool) -> tuple[dict[int, Any]]:
    moving = {} if fixed_batch else {0: Dim.DYNAMIC}
    return (moving if fixed_size else moving | {2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)


def _without_adaptive_pools(program: ExportedProgram) -> ExportedProgram:
    """Write adaptive average pools as matrix products.

    ONNX has no such operator, and torch's own translation is right for one image size only.
    """
    pools = (torch.ops.aten.adaptive_avg_pool2d.default,)
    calls = [node for node in program.graph.nodes if node.target in pools]
    if all(list(node.args[1]) == [1, 1] for node in calls):
        return program
    inner = torch.ops.aten._adaptive_avg_pool2d.default
    return program.run_decompositions(dict.fromkeys((*pools, inner), adaptive_means))


def adaptive_means(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Average over a grid of windows that cover the image.

        y = A_H x A_W^T,    A_N[i, p] = 1 / (e_i - s_i) for s_i <= p < e_i, else 0,
        s_i = floor(i N / out),    e_i = ceil((i + 1) N / out)

    Shape: x (N, C, H, W) -> (N, C, *size).
    Source: the definition of torch.nn.AdaptiveAvgPool2d.
    """
    down, across = (_window(x.shape[axis], out, x) for axis, out in ((2, size[0]), (3, size[1])))
    return down @ x @ across.T


def _window(pixels: int, out: int, like: Tensor) -> Tensor:
    place = torch.arange(pixels, device=like.device)
    index = torch.arange(out, device=like.device)[:, None]
    start = torch.div(index * pixels, out, rounding_mode="floor")
    end = torch.div((index + 1) * pixels + out - 1, out, rounding_mode="floor")
    inside = (place >= start) & (place < end)
    return inside.to(like.dtype) / (end - start).to(like.dtype)


@contextmanager
def _explained(name: str, fixed_size: bool) -> Iterator[None]:
    """Say in one sentence which operator or size torch could not carry over."""
    try:
        yield
    except InputError:
        raise
    except (RuntimeError, TypeError, ValueError, torch.onnx.OnnxExporterError) as error:
        text = " ".join(str(error).split())
        if "specialized" in text or "Constraints violated" in text:
            raise InputError(
                f"{name} takes images of one size only; export it with --fixed-size"
            ) from error
        found = re.search(r"(aten|prims|torchvision|convgate)[.:]+[\w.]+", _whole(error))
        if found:
            raise InputError(f"{name} cannot be exported: operator {found[0]}") from error
        out = "" if fixed_size else "; try --fixed-size"
        raise InputError(f"{name} cannot be exported: {text[:160]}{out}") from error


def _whole(error: BaseException) -> str:
    cause = error.__cause__
    return str(error) if cause is None else f"{error} {_whole(cause)}"


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # torch and onnxscript warn of what they will change in themselves
        for kind in (DeprecationWarning, FutureWarning, UserWarning):
            warnings.filterwarnings("ignore", category=kind, module=r"(torch|onnx|onnxscript)\b.*")
        warnings.filterwarnings("ignore", "`isinstance.treespec, LeafSpec.`")  # torch 2.11, by copy
        yield
