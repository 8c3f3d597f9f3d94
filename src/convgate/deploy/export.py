"""Fold, convert, run, compare, describe; only then is there a file."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from convgate.deploy.accuracy import Labelled, top1
from convgate.deploy.checks import check_size
from convgate.deploy.formats import FORMATS
from convgate.deploy.runtimes import Run
from convgate.deploy.verify import check_deterministic, check_range, inputs_to_compare, verify
from convgate.errors import InputError, unknown
from convgate.folding import fold, folded
from convgate.networks.card import About
from convgate.networks.opening import Source
from convgate.networks.preprocessing import ImageSpec
from convgate.storage import staging

LEAST = 3  # images to compare on
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
    calibration: Tensor | None = None,
    validation: Labelled | None = None,
) -> Exported:
    """Write a network as ONNX or OpenVINO IR, after running it beside the eager one.

    The network is folded, converted, and run at two batch sizes and, unless its size is fixed, at
    two other image sizes. A float16 file is written only if no number inside the network leaves
    that format's range; it still takes and gives float32.

    Args:
        source: The network and what is known of it.
        form: "onnx" or "openvino".
        out: The file: .onnx, or .xml with .bin beside it.
        dtype: "float32", "float16", or for OpenVINO "int8".
        fixed_size: Take no other image size than the network's own; networks that timm notes as
            such, Swin among them, are exported so unasked.
        calibration: Images, (N, C, H, W) with N >= 3, that int8 takes its ranges from and that
            everything is compared on; random numbers by default, with which int8 cannot do.
        validation: Labelled pictures; the accuracy on them, eager and exported, is noted.

    Raises:
        InputError: for a network that cannot be exported (naming the operator), an output that
            differs, numbers beyond float16, or a missing extra; nothing is written then.
    """
    spec = _check(form, out, dtype, source.about, calibration)
    name, model, kind = source.about.name, source.model, FORMATS[form]
    x = _random_images(spec) if calibration is None else calibration
    check_size(model, x[:1])
    check_deterministic(name, model, x[:1])
    largest = check_range(name, model, x) if dtype == "float16" else None
    fixed = fixed_size or has_fixed_size(model)
    form_to_ship, told = fold_if_it_can(model, x[:1])
    about = replace(source.about, fixed_size=fixed, dtype=dtype, folded=told)  # type: ignore[arg-type]
    graph = kind.convert(form_to_ship, x, about)
    if validation is not None:
        about = replace(about, scores=_scores(model, kind.run(graph), spec, dtype, validation))
    with staging(out) as part:
        files = kind.write(graph, about, part / out.name)
        images = inputs_to_compare(x, fixed_size=fixed)
        difference = verify(name, kind.run(part / out.name), model, images, _KIND[dtype])
        for file in files:
            (part / file).replace(out.with_name(file))
    written = tuple(out.with_name(file) for file in files)
    return Exported(files=written, about=about, difference=difference, largest=largest)


def fold_if_it_can(model: nn.Module, x: Tensor) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the folded network and what was folded, or the network itself and why it was not."""
    try:
        net = fold(model, x)
    except InputError as error:
        return model, (f"not folded: {error}",)
    places = Counter(entry.identity for entry in folded(net).folds)
    return net, tuple(f"{identity}: {count}" for identity, count in places.items())


def has_fixed_size(model: nn.Module) -> bool:
    """Tell whether timm notes that a network takes one image size alone."""
    return bool((getattr(model, "pretrained_cfg", None) or {}).get("fixed_input_size"))


def _random_images(spec: ImageSpec) -> Tensor:
    return torch.randn(LEAST, *spec.input_size, generator=torch.Generator().manual_seed(0))


def _scores(
    model: nn.Module, run: Run, spec: ImageSpec, dtype: str, validation: Labelled
) -> dict[str, float]:
    return {
        "images": len(validation.files),
        "top1_eager": top1(model, validation, spec),
        f"top1_{dtype}": top1(run, validation, spec),
    }


def _check(form: str, out: Path, dtype: str, about: About, calibration: Tensor | None) -> ImageSpec:
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    suffix, dtypes = FORMATS[form].suffix, FORMATS[form].dtypes
    if dtype not in dtypes:
        raise InputError(f"{form} files have no {dtype}; choose from {', '.join(dtypes)}")
    if out.suffix != suffix:
        raise InputError(f"--out {out}: a file for {form} ends in {suffix}")
    if out.is_dir():
        raise InputError(f"--out {out}: is a folder; name a file")
    if dtype == "int8" and calibration is None:
        raise InputError("int8 takes its ranges from pictures; give a folder of them (--calibrate)")
    if about.images is None:
        raise InputError(f"{about.name} notes no image size; build it through timm")
    return about.images
