"""The two file formats: how a network becomes one, and how one is run and described."""

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from convgate.deploy.convert import EXAMPLE_BATCH, HalfPrecision, to_onnx
from convgate.deploy.extras import need
from convgate.deploy.quantise import quantise
from convgate.deploy.runtimes import Run, openvino_core, read_graph, run_onnx, run_openvino
from convgate.errors import CorruptFile
from convgate.networks.card import KEY, About, read_about


class Format(Protocol):
    """A file format; ``graph`` is what its library holds in memory."""

    suffix: str
    dtypes: tuple[str, ...]

    def convert(self, model: nn.Module, x: Tensor, about: About) -> Any:
        """Return the graph of a network, computed as ``about`` says."""

    def write(self, graph: Any, about: About, path: Path) -> tuple[str, ...]:
        """Write the graph and its description; return the names of the files."""

    def run(self, graph: Any) -> Run:
        """Make a graph ready to run."""

    def read(self, path: Path) -> tuple[Any, About]:
        """Read a file and what it says of itself."""


class Onnx:
    """One .onnx file, run by ONNX Runtime."""

    suffix = ".onnx"
    dtypes: tuple[str, ...] = ("float32", "float16")

    def convert(self, model: nn.Module, x: Tensor, about: About) -> Any:
        form = HalfPrecision(model) if about.dtype == "float16" else model
        return _converted(form, x, about)

    def write(self, graph: Any, about: About, path: Path) -> tuple[str, ...]:
        onnx = need("onnx", "format 'onnx'")
        onnx.helper.set_model_props(graph, {KEY: about.to_json()})
        onnx.save_model(graph, path)
        return (path.name,)

    def run(self, graph: Any) -> Run:
        source = graph if isinstance(graph, Path) else graph.SerializeToString()
        return run_onnx(source, torch.get_num_threads())

    def read(self, path: Path) -> tuple[Any, About]:
        ort = need("onnxruntime", str(path))
        options = ort.SessionOptions()
        options.log_severity_level = 4
        try:
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own exception types, one for each status
            raise CorruptFile(f"{path}: damaged; export the network again") from error
        return path, read_about(session.get_modelmeta().custom_metadata_map.get(KEY), path)


class OpenVino:
    """An IR: .xml with .bin beside it; run by OpenVINO in float32, or as its int8 operators say."""

    suffix = ".xml"
    dtypes: tuple[str, ...] = ("float32", "float16", "int8")

    def convert(self, model: nn.Module, x: Tensor, about: About) -> Any:
        graph = read_graph(about.name, _converted(model, x, about))
        return quantise(graph, torch.split(x, 1)) if about.dtype == "int8" else graph

    def write(self, graph: Any, about: About, path: Path) -> tuple[str, ...]:
        openvino = need("openvino", "format 'openvino'")
        graph.set_rt_info(about.to_json(), KEY)
        openvino.save_model(graph, path, compress_to_fp16=about.dtype == "float16")
        return path.with_suffix(".bin").name, path.name

    def run(self, graph: Any) -> Run:
        network = openvino_core().read_model(graph) if isinstance(graph, Path) else graph
        return run_openvino(network, "float32", torch.get_num_threads())

    def read(self, path: Path) -> tuple[Any, About]:
        core = openvino_core()
        try:
            graph = core.read_model(path)
        except RuntimeError as error:
            beside = path.with_suffix(".bin").name
            raise CorruptFile(
                f"{path}: damaged, or {beside} is not beside it; export the network again"
            ) from error
        told = graph.get_rt_info(KEY).astype(str) if graph.has_rt_info(KEY) else None
        return graph, read_about(told, path)


FORMATS: dict[str, Format] = {"onnx": Onnx(), "openvino": OpenVino()}


def _converted(model: nn.Module, x: Tensor, about: About) -> Any:
    x = x[:EXAMPLE_BATCH]
    return to_onnx(about.name, model, x, fixed_size=about.fixed_size, fixed_batch=False)
