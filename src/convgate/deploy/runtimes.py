"""The table of runtimes: dtypes, packages, and how each makes, runs, writes and reads a graph."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convgate.deploy.extras import need
from convgate.deploy.onnx import Forward, HalfPrecision, read_onnx, run_onnx, to_onnx, write_onnx
from convgate.deploy.openvino import (
    from_onnx,
    quantise,
    read_openvino,
    run_openvino,
    write_openvino,
)
from convgate.errors import InputError, unknown
from convgate.measure.settings import DTYPES, Setting
from convgate.networks.card import Card, read_card

FLOATS = ("float32", "bfloat16", "float16")
ONNX = ("onnx", "onnxscript")


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What a graph is made from."""

    name: str  # what to call the network in an error
    model: nn.Module  # in evaluation mode
    images: Tensor  # an input, (N, C, H, W)
    dtype: str = "float32"  # of the arithmetic
    fixed_size: bool = True  # whether H and W are constants
    fixed_batch: bool = True  # whether N is one
    calibration: Sequence[Tensor] = ()  # batches of images that int8 takes its ranges from
    compile_mode: str = "default"  # of torch.compile


@dataclass(frozen=True, kw_only=True)
class FileFormat:
    """How a graph is kept in a file."""

    name: str  # as `export` takes it
    suffixes: tuple[str, ...]  # of all its files; that of the file to name is the last
    dtypes: tuple[str, ...]  # that a file can hold
    write: Callable[[Any, str, Path, str], None]  # writes graph, card and dtype to a path
    # returns a path's network, run by so many threads, and its card where it has one
    read: Callable[[Path, int], tuple[Forward, str | None]]

    @property
    def suffix(self) -> str:
        return self.suffixes[-1]

    def files(self, path: Path) -> tuple[Path, ...]:
        """Return all files that belong to ``path``, itself last."""
        return tuple(path.with_suffix(suffix) for suffix in self.suffixes)


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What runs a network."""

    dtypes: tuple[str, ...]  # that it computes in
    graph: Callable[[Conversion], Any]  # makes a network's graph
    run: Callable[[Any, str, int, int], Forward]  # of graph, dtype, threads, parts
    packages: tuple[str, ...] = ()  # that it needs
    in_torch: bool = False  # torch runs the network, on any device; all others run on the CPU
    takes_parts: bool = False  # whether it can run parts of a batch side by side
    file: FileFormat | None = None  # its file format, where it has one


def _eager(source: Conversion) -> Any:
    return Setting(dtype=source.dtype).eager(source.model)


def _compiled(source: Conversion) -> Any:
    setting = Setting(dtype=source.dtype, compile_mode=source.compile_mode)
    return setting.compiled(setting.eager(source.model))


def _run_torch(graph: Any, dtype: str, threads: int, parts: int) -> Forward:
    """Cast images and logits; torch's threads are those of the process."""
    kind = DTYPES[dtype]
    return graph if kind == torch.float32 else lambda x: graph(x.to(kind)).float()


def _onnx(source: Conversion) -> Any:
    model = HalfPrecision(source.model) if source.dtype == "float16" else source.model
    fixed = {"fixed_size": source.fixed_size, "fixed_batch": source.fixed_batch}
    return to_onnx(source.name, model, source.images, **fixed)


def _run_onnx(graph: Any, dtype: str, threads: int, parts: int) -> Forward:
    return run_onnx(graph.SerializeToString(), threads)


def _openvino(source: Conversion) -> Any:
    graph = from_onnx(source.name, _onnx(replace(source, dtype="float32")))
    return quantise(graph, source.calibration) if source.dtype == "int8" else graph


RUNTIMES = {
    "eager": Runtime(dtypes=FLOATS, graph=_eager, run=_run_torch, in_torch=True),
    "compile": Runtime(dtypes=FLOATS, graph=_compiled, run=_run_torch, in_torch=True),
    "onnxruntime": Runtime(
        dtypes=("float32",),
        packages=("onnxruntime", *ONNX),
        graph=_onnx,
        run=_run_onnx,
        file=FileFormat(
            name="onnx",
            suffixes=(".onnx",),
            dtypes=("float32", "float16"),
            write=write_onnx,
            read=read_onnx,
        ),
    ),
    "openvino": Runtime(
        dtypes=(*FLOATS, "int8"),
        packages=("openvino", *ONNX),
        graph=_openvino,
        run=run_openvino,
        takes_parts=True,
        file=FileFormat(
            name="openvino",
            suffixes=(".bin", ".xml"),
            dtypes=("float32", "float16", "int8"),
            write=write_openvino,
            read=read_openvino,
        ),
    ),
}
"""Engine -> its runtime."""
FORMATS = {each.file.name: (each, each.file) for each in RUNTIMES.values() if each.file}
"""Format -> the runtime that runs its files, and how they are written and read."""


def check_engine(name: str, dtype: str) -> None:
    """Ask that there is such an engine, installed, and that it computes in ``dtype``."""
    if name not in RUNTIMES:
        raise unknown("engine", name, RUNTIMES)
    runtime = RUNTIMES[name]
    if dtype not in runtime.dtypes:
        every = {word for each in RUNTIMES.values() for word in each.dtypes}
        if dtype not in every:
            raise unknown("dtype", dtype, every)
        raise InputError(
            f"engine {name!r} has no {dtype} here; choose from {', '.join(runtime.dtypes)}"
        )
    for package in runtime.packages:
        need(package, f"engine {name!r}")


def check_parts(name: str, parts: int, batch: int) -> None:
    """Ask that an engine can run a batch in so many parts side by side."""
    if parts != 1 and not RUNTIMES[name].takes_parts:
        raise InputError(f"engine {name!r} runs a batch as one; --parts is for openvino")
    if parts < 1 or batch % parts:
        raise InputError(
            f"parts={parts} does not cut a batch of {batch} into equal parts; "
            f"use a divisor of {batch}"
        )


def open_file(path: Path) -> tuple[Forward, Card] | None:
    """Open an exported file: its network, ready to run, and its card; None for another suffix."""
    for _, form in FORMATS.values():
        if path.suffix == form.suffix:
            if not path.is_file():
                raise InputError(f"{path}: there is no such file or folder")
            forward, card = form.read(path, torch.get_num_threads())
            return forward, read_card(card, path)
    return None
