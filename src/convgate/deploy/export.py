"""Fold, convert, run, compare, describe; only then is there a file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convgate.deploy.about import KEY, About
from convgate.deploy.convert import EXAMPLE_BATCH, HalfPrecision, to_onnx
from convgate.deploy.engines import check_size
from convgate.deploy.extras import need
from convgate.deploy.files import staging
from convgate.deploy.quantise import quantise
from convgate.deploy.runtimes import read_graph, run_onnx, run_openvino
from convgate.deploy.source import Source
from convgate.deploy.verify import check_deterministic, check_range, inputs_to_compare, verify
from convgate.errors import InputError, unknown

SUFFIX = {"onnx": ".onnx", "openvino": ".xml"}
DTYPES = {"onnx": ("float32", "float16"), "openvino": ("float32", "float16", "int8")}
_KIND = {"float32": torch.float32, "float16": torch.float16, "int8": torch.int8}


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written and how it was checked.

    Args:
        files: The file, or both files of an IR.
        about: What they say of themselves.
        difference: Largest norm of a difference to the eager network over that of its output.
        largest: Largest magnitude inside the network; None where it was not asked for.
    """

    files: tuple[Path, ...]
    about: About
    difference: float
    largest: float | None


def export(
    source: Source,
    form: str,
    out: Path,
    *,
    dtype: str = "float32",
    fixed_size: bool = False,
    calibration: Sequence[Tensor] = (),
) -> Exported:
    """Write a network as ONNX or OpenVINO IR, after running it beside the eager one.

    The network is folded, converted, and run at two batch sizes and, unless its size is fixed, at
    two other image sizes. A float16 file is written only if no number inside the network, on
    random or the calibration images, leaves that format's range; it still takes and gives float32.

    Args:
        source: The network and what is known of it.
        form: "onnx" or "openvino".
        out: The file: .onnx, or .xml with .bin beside it.
        dtype: "float32", "float16", or for OpenVINO "int8".
        fixed_size: Take no other image size than the network's own; networks that timm notes as
            such, Swin among them, are exported so unasked.
        calibration: Images that int8 takes its ranges from, each (N, C, H, W).

    Raises:
        InputError: for a network that cannot be exported (naming the operator), an output that
            differs, numbers beyond float16, or a missing extra; nothing is written then.
    """
    _check(form, out, dtype, source.about)
    name, model = source.about.name, source.model
    assert source.about.images is not None
    size = source.about.images.input_size
    fixed = fixed_size or has_fixed_size(model)
    x = torch.randn(EXAMPLE_BATCH, *size, generator=torch.Generator().manual_seed(0))
    check_size(model, x)
    check_deterministic(name, model, x)
    shown = torch.cat(list(calibration)) if calibration else x
    largest = check_range(name, model, shown) if dtype == "float16" else None
    about = replace(source.about, fixed_size=fixed, dtype=dtype)  # type: ignore[arg-type]
    half = dtype == "float16" and form == "onnx"
    graph = to_onnx(
        name, HalfPrecision(model) if half else model, x, fixed_size=fixed, fixed_batch=False
    )
    with staging(out) as part:
        write = _write_onnx if form == "onnx" else _write_openvino
        run, files = write(graph, part / out.name, about, calibration)
        images = inputs_to_compare(size, fixed_size=fixed)
        difference = verify(name, run, model, images, _KIND[dtype])
        for file in files:
            (part / file).replace(out.with_name(file))
    written = tuple(out.with_name(file) for file in files)
    return Exported(files=written, about=about, difference=difference, largest=largest)


def has_fixed_size(model: nn.Module) -> bool:
    """Tell whether timm notes that a network takes one image size alone."""
    return bool((getattr(model, "pretrained_cfg", None) or {}).get("fixed_input_size"))


def _write_onnx(graph: Any, path: Path, about: About, calibration: Sequence[Tensor]) -> Any:
    onnx = need("onnx", "the export")
    onnx.helper.set_model_props(graph, {KEY: about.to_json()})
    onnx.save_model(graph, path)
    return run_onnx(path, torch.get_num_threads()), (path.name,)


def _write_openvino(graph: Any, path: Path, about: About, calibration: Sequence[Tensor]) -> Any:
    openvino = need("openvino", "format 'openvino'")
    network = read_graph(graph.SerializeToString())
    if about.dtype == "int8":
        network = quantise(network, calibration)
    network.set_rt_info(about.to_json(), KEY)
    openvino.save_model(network, path, compress_to_fp16=about.dtype == "float16")
    # a float16 file is compared in float32, which every processor has
    run = run_openvino(read_graph(path), "float32", torch.get_num_threads())
    return run, (path.with_suffix(".bin").name, path.name)


def _check(form: str, out: Path, dtype: str, about: About) -> None:
    if form not in SUFFIX:
        raise unknown("format", form, SUFFIX)
    if dtype not in DTYPES[form]:
        raise InputError(f"{form} has no {dtype} here; choose from {', '.join(DTYPES[form])}")
    if out.suffix != SUFFIX[form]:
        raise InputError(f"--out {out}: a file for {form} ends in {SUFFIX[form]}")
    if out.is_dir():
        raise InputError(f"--out {out}: is a folder; name a file")
    if about.images is None:
        raise InputError(f"{about.name} notes no image size; build it through timm")
