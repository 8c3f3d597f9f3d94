"""Measure every case on the CPU, keep the results as CSV, print what was reached of the targets.

    python -m benchmarks.run --batch 8 --threads 2

A GPU has benchmarks of its own, in benchmarks/cuda.py and benchmarks/kernels.
"""

import argparse
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.cases import CASES, IMAGE_PX, Build, Case
from benchmarks.page import write_page
from benchmarks.record import RESULTS, rows_of
from benchmarks.targets import TARGETS, table
from convgate.deploy.engines import open_engine
from convgate.deploy.onnx import Forward, run_onnx, to_onnx
from convgate.deploy.openvino import from_onnx, quantise, run_openvino
from convgate.measure import LatencyReport, compare_latency
from convgate.measure.parity import check_parity
from convgate.measure.settings import DTYPES
from convgate.storage import write_csv


class Opener:
    """Opens engines on one batch of images; each network and graph is built once for all engines.

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


def measure(case: Case, opener: Opener, options: argparse.Namespace) -> LatencyReport:
    """Open the networks of a case and time them together."""
    candidates = {
        name: opener.open(build, case.engine, case.dtype, case.parts)
        for name, build in case.nets.items()
    }
    for name in case.int8:
        candidates[f"{name}, int8"] = opener.open(case.nets[name], case.engine, "int8", case.parts)
    for name in case.eager:
        candidates[f"{name}, eager float32"] = opener.open(case.nets[name], "eager", "float32")
    return compare_latency(
        candidates,
        opener.x,
        seconds=options.seconds,
        threads=options.threads,
        warmup_runs=3,
        warmup_cap_s=options.seconds / 2,
    )


def main() -> None:
    """Measure and print."""
    options = arguments()
    torch.set_num_threads(options.threads)
    opener = Opener(torch.randn(options.batch, 3, IMAGE_PX, IMAGE_PX), options.threads)
    found: dict[str, list[dict[str, object]]] = {}
    for case in CASES:
        if options.only in (None, case.subject):
            report = measure(case, opener, options)
            lines = found.setdefault(case.subject, [])
            lines.extend(rows_of(case.engine, case.dtype, case.parts, report))
            write_csv(RESULTS / f"{case.subject}_cpu.csv", lines)
            ratios = "  ".join(f"{row.name}: {row.ratio:.3f}" for row in report.rows[1:])
            print(f"{case.engine} {case.dtype}, parts: {case.parts}  {ratios}", flush=True)
    print(table(TARGETS, RESULTS))
    write_page(RESULTS)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8, help="images at a time")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each case")
    parser.add_argument("--only", choices=["selnext", "resnet50"], help="one subject")
    return parser.parse_args()


if __name__ == "__main__":
    main()
