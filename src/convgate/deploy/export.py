"""Fold, convert, run, compare, describe; only then is there a file."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import fill

import torch
from torch import Tensor, nn

from convgate.deploy.onnx import Forward
from convgate.deploy.runtimes import FORMATS, Conversion
from convgate.deploy.verify import (
    check_deterministic,
    check_range,
    check_size,
    inputs_to_compare,
    verify,
)
from convgate.errors import InputError, unknown
from convgate.folding import fold, folded
from convgate.measure.settings import DTYPES
from convgate.networks.card import Card
from convgate.networks.labelled import Labelled, accuracy
from convgate.networks.opening import Network, check_task
from convgate.networks.preprocessing import Preprocessing
from convgate.storage import staging

EXAMPLE_BATCH = 2  # a batch of one would be taken for a constant
MIN_IMAGES = 3  # to compare on
WIDTH = 80


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written and how it was checked; printed, it says so in words.

    Args:
        files: The file, or both files of OpenVINO.
        card: What they say of themselves.
        difference: Largest norm of a difference to the eager network over that of its output.
        largest: Largest magnitude inside the network; None where it was not asked for.
        fixed_by_network: Whether the size is fixed unasked, for the network takes no other.
    """

    files: tuple[Path, ...]
    card: Card
    difference: float
    largest: float | None = None
    fixed_by_network: bool = False

    def __str__(self) -> str:
        lines = [fill(line, WIDTH, subsequent_indent="  ") for line in self._lines()]
        return "\n".join([*lines, *map(str, self.files)])

    def _lines(self) -> Iterator[str]:
        card = self.card
        size = "x".join(map(str, card.images.input_size)) if card.images else "?"
        why = ", for the network takes no other" if self.fixed_by_network else ""
        taken = f"{size} only{why}" if card.fixed_size else f"{size} or another size"
        yield f"{card.name}, {card.dtype}, weights: {card.weights}"
        yield f"images of {taken}; any batch"
        yield from (f"folded: {line}".replace("folded: not", "not", 1) for line in card.folded)
        yield (
            f"largest difference to the eager network: {self.difference:.1e} of its output's norm"
        )
        if self.largest is not None:
            yield f"largest number inside: {self.largest:.4g}; float16 holds 65504"
        if card.scores:
            yield (
                f"top-1 on {card.scores['images']:,.0f} images: "
                f"{card.scores['top1_eager']:.2f} % eager, "
                f"{card.scores[f'top1_{card.dtype}']:.2f} % {card.dtype}"
            )
        elif card.dtype == "int8":
            yield "accuracy not measured; give --validate FOLDER"


def export(
    source: Network,
    form: str,
    out: Path,
    *,
    dtype: str = "float32",
    fixed_size: bool = False,
    calibration: Tensor | None = None,
    validation: Labelled | None = None,
    force: bool = False,
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
        force: Replace files that are there.

    Raises:
        InputError: for a network that cannot be exported (naming the operator), an output that
            differs, numbers beyond float16, a missing extra, or a file that is there; nothing is
            written then.
    """
    check_task(source, "classify", "an export")
    spec = _check(form, out, dtype, source.card, calibration, force)
    (runtime, file), threads = FORMATS[form], torch.get_num_threads()
    x = _random_images(spec) if calibration is None else calibration
    fixed = fixed_size or has_fixed_size(source.model)
    with staging(out) as part:
        card, lean, largest = _checked(source, x, dtype, fixed)
        graph = runtime.graph(
            Conversion(
                name=card.name,
                model=lean,
                images=x[:EXAMPLE_BATCH],
                dtype=dtype,
                fixed_size=fixed,
                fixed_batch=False,
                calibration=torch.split(x, 1),
            )
        )
        if validation is not None:
            run = runtime.run(graph, "float32", threads, 1)
            card = replace(card, scores=_scores(source.model, run, spec, dtype, validation))
        staged = part / out.name
        file.write(graph, card.to_json(), staged, dtype)
        run, _ = file.read(staged, threads)
        images = inputs_to_compare(x, fixed_size=fixed)
        kind = DTYPES.get(dtype, torch.int8)
        difference = verify(card.name, run, source.model, images, kind)
        for path in file.files(staged):
            path.replace(out.with_name(path.name))
    return Exported(
        files=file.files(out),
        card=card,
        difference=difference,
        largest=largest,
        fixed_by_network=fixed and not fixed_size,
    )


def _checked(
    source: Network, x: Tensor, dtype: str, fixed: bool
) -> tuple[Card, nn.Module, float | None]:
    """Return the card, the folded network and its largest number, where float16 asks for it."""
    name, model = source.card.name, source.model
    check_size(model, x[:1])
    check_deterministic(name, model, x[:1])
    largest = check_range(name, model, x) if dtype == "float16" else None
    lean, changes = fold_if_it_can(model, x[:1])
    card = replace(source.card, fixed_size=fixed, dtype=dtype, folded=changes)  # type: ignore[arg-type]
    return card, lean, largest


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


def _random_images(spec: Preprocessing) -> Tensor:
    return torch.randn(MIN_IMAGES, *spec.input_size, generator=torch.Generator().manual_seed(0))


def _scores(
    model: nn.Module, run: Forward, spec: Preprocessing, dtype: str, validation: Labelled
) -> dict[str, float]:
    return {
        "images": len(validation.files),
        "top1_eager": accuracy(model, validation, spec)["top1"],
        f"top1_{dtype}": accuracy(run, validation, spec)["top1"],
    }


def _check(
    form: str, out: Path, dtype: str, card: Card, calibration: Tensor | None, force: bool
) -> Preprocessing:
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    _, file = FORMATS[form]
    if dtype not in file.dtypes:
        raise InputError(f"{form} files have no {dtype}; choose from {', '.join(file.dtypes)}")
    if out.suffix != file.suffix:
        raise InputError(f"--out {out}: a file for {form} ends in {file.suffix}")
    if out.is_dir():
        raise InputError(f"--out {out}: is a folder; name a file")
    _check_free(file.files(out), force)
    if dtype == "int8" and calibration is None:
        raise InputError("int8 takes its ranges from pictures; give a folder of them (--calibrate)")
    if card.images is None:
        raise InputError(f"{card.name} notes no image size; build it through timm")
    return card.images


def _check_free(files: tuple[Path, ...], force: bool) -> None:
    there = [path for path in files if path.exists()]
    if there and not force:
        raise InputError(f"{there[0]}: exists already; choose another name, or --force replaces it")
