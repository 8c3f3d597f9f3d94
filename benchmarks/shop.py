"""Networks and their exported graphs, each built once however many engines run it."""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.cases import Build
from convgate.deploy.engines import open_engine
from convgate.deploy.onnx import Forward, run_onnx, to_onnx
from convgate.deploy.openvino import from_onnx, quantise, run_openvino
from convgate.measure.parity import check_parity
from convgate.measure.settings import DTYPES


class Shop:
    """Opens engines for networks on one batch of images.

    Args:
        x: The images, (N, C, H, W).
        threads: CPU threads.
    """

    def __init__(self, x: Tensor, threads: int) -> None:
        self.x, self.threads = x, threads
        self.network = cache(self._network)
        self.graph = cache(self._graph)

    def open(self, build: Build, engine: str, dtype: str, parts: int = 1) -> Forward:
        """Make a network ready in an engine; its output is compared with the eager one first."""
        net = self.network(build)
        if engine in ("eager", "compile"):
            return open_engine(engine, net, self.x, dtype=dtype, threads=self.threads)
        graph = self.graph(build, len(self.x) // parts)
        if engine == "onnxruntime":
            run = run_onnx(graph.SerializeToString(), self.threads)
        else:
            ready = from_onnx(engine, graph)
            if dtype == "int8":
                ready = quantise(ready, torch.split(self.x, len(self.x) // parts))
            run = run_openvino(ready, dtype, self.threads, parts)
        kind = DTYPES.get(dtype, torch.int8)
        check_parity(f"{engine} in {dtype}", run, net, self.x, dtype=kind)
        return run

    def _network(self, build: Build) -> nn.Module:
        with torch.no_grad():
            return build(self.x)

    def _graph(self, build: Build, batch: int) -> Any:
        net = self.network(build)
        return to_onnx(type(net).__name__, net, self.x[:batch], fixed_size=True, fixed_batch=True)
