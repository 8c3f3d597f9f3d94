"""Fold, convert, run, compare, describe; only then is there a file."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convgate import spec
from convgate.deploy.extras import need
from convgate.deploy.onnx import Forward
from convgate.deploy.runtimes import FORMATS, Conversion, FileFormat
from convgate.deploy.verify import (
    check_deterministic,
    check_range,
    check_size,
    inputs_to_compare,
    verify,
)
from convgate.errors import InputError, unknown
from convgate.folding import fold, folded
from convgate.measure.settings import DTYPES, noise
from convgate.networks.card import Card
from convgate.networks.hub import save_hub
from convgate.networks.labelled import Labelled, accuracy, load_inputs, open_labelled
from convgate.networks.opening import Network, check_task, open_network
from convgate.networks.preprocessing import Preprocessing
from convgate.pictures.archives import open_tree
from convgate.pictures.folders import in_training, pictures_in
from convgate.storage import check_free, publish, staging
from convgate.tables import Readable, Table

HUB = "hub"
EXAMPLE_BATCH = 2  # a batch of one would be taken for a constant
MIN_IMAGES = 3  # to compare on
MIN_CALIBRATION = 32
MAX_CALIBRATION = 300  # the quantiser's own number
NOT_FOLDED = "not folded"


@dataclass(frozen=True, kw_only=True, repr=False)
class Exported(Readable):
    """What was written and how it was checked; prints as a table."""

    files: tuple[Path, ...]  # the hub folder, the file, or both files of OpenVINO
    card: Card  # what they say of themselves
    difference: float  # largest norm of a difference to the eager network over that of its output
    largest: float | None = None  # largest magnitude inside the network; None: not asked for
    fixed_by_network: bool = False  # fixed unasked, for the network takes no other size

    def to_dict(self) -> dict[str, Any]:
        files = [str(path) for path in self.files]
        return super().to_dict() | {"files": files, "card": spec.to_table(self.card)}

    def table(self) -> Table:
        rows = [*self._rows(), ("files", ", ".join(path.name for path in self.files))]
        return Table(("network", self.card.name), rows)

    def _rows(self) -> Iterator[tuple[str, str]]:
        card = self.card
        yield "weights", card.weights
        yield "dtype", card.dtype
        yield "images", self._images()
        if card.folded:
            yield "folded", "\n".join(card.folded)
        norm = f"{self.difference:.1e} of the norm of the eager network's output"
        yield "difference", norm if self.difference else "none"
        if self.largest is not None:
            yield "largest number", f"{self.largest:.4g}; float16 holds 65504"
        if "top1_eager" in card.scores:
            first, then = card.scores["top1_eager"], card.scores[f"top1_{card.dtype}"]
            compared = f"{first:.2f} % eager, {then:.2f} % {card.dtype}"
            yield "top-1", f"{compared}, on {card.scores['images']:,.0f} images"
        elif card.dtype == "int8":
            yield "top-1", "not measured; give --validate FOLDER"

    def _images(self) -> str:
        images = self.card.images
        size = "x".join(map(str, images.input_size)) if images else "a size that nothing says"
        why = ", for the network takes no other" if self.fixed_by_network else ""
        fixed = self.card.fixed_size or self.fixed_by_network
        taken = f"{size} only{why}" if fixed else f"{size} or another size"
        return f"{taken}; any batch"


def export(
    network: Network | str | Path,
    format: str,
    out: str | Path,
    *,
    dtype: str = "float32",
    fixed_size: bool = False,
    calibration: Tensor | str | Path | None = None,
    validation: str | Path | None = None,
    force: bool = False,
) -> Exported:
    """Write a network as hub folder, ONNX or OpenVINO file, after running it beside the eager one.

    For ONNX and OpenVINO, the network is folded, converted, and run at two batch sizes and, unless
    its size is fixed, at two other image sizes. A float16 file is written only if no number inside
    the network leaves that format's range; it still takes and gives float32. A hub folder holds the
    weights as they are; what timm builds from it is compared bit for bit.

    Args:
        network: What `open_network` takes, or what it gave.
        format: "hub", "onnx" or "openvino".
        out: A new folder for the hub; else the file: .onnx, or .xml with .bin beside it.
        dtype: "float32", "float16", or for OpenVINO "int8".
        fixed_size: Take no other image size than the network's own; networks that timm notes as
            such, Swin among them, are exported so unasked.
        calibration: Pictures that int8 takes its ranges from and that everything is compared on: a
            folder or zip, or inputs (N, C, H, W) with N >= 3; random numbers by default, with
            which int8 cannot do.
        validation: Folder or zip of CLASS/image; the accuracy on it, eager and exported, is noted.
        force: Replace files that are there; a hub folder that holds something never is.

    Raises:
        InputError: for a network that cannot be exported (naming the operator), an output that
            differs, numbers beyond float16, a missing extra, or a file that is there; nothing is
            written then.
    """
    opened = network if isinstance(network, Network) else open_network(network)
    path = Path(out)
    if format == HUB:
        if dtype != "float32" or fixed_size or calibration is not None or validation is not None:
            raise InputError("the hub layout holds float32 weights as they are; do without options")
        save_hub(opened.model, opened.card, path)
        fixed = has_fixed_size(opened.model)
        return Exported(files=(path,), card=opened.card, difference=0.0, fixed_by_network=fixed)
    check_task(opened, "classify", "an export")
    images = _check(format, path, dtype, opened.card, calibration is not None, force)
    x = _inputs(calibration, images)
    judged = None if validation is None else open_labelled(Path(validation), opened.card)
    fixed = fixed_size or has_fixed_size(opened.model)
    with staging(path) as part:
        card, lean, largest = _ready(opened, x, dtype, fixed)
        (runtime, file), threads = FORMATS[format], torch.get_num_threads()
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
        if judged is not None:
            run = runtime.run(graph, "float32", threads, 1)
            measured = _scores(opened.model, run, images, dtype, judged)
            card = replace(card, scores=card.scores | measured)
        staged = part / path.name
        file.write(graph, card.to_json(), staged, dtype)
        run, _ = file.read(staged, threads)
        shown = inputs_to_compare(x, fixed_size=fixed)
        difference = verify(card.name, run, opened.model, shown, DTYPES.get(dtype, torch.int8))
        _check_target(path, format, file, force)  # again: another process may have been faster
        publish(dict(zip(file.files(staged), file.files(path), strict=True)))
    return Exported(
        files=file.files(path),
        card=card,
        difference=difference,
        largest=largest,
        fixed_by_network=fixed and not fixed_size,
    )


def _ready(
    network: Network, x: Tensor, dtype: str, fixed: bool
) -> tuple[Card, nn.Module, float | None]:
    """Return the card, the folded network and its largest number, where float16 asks for it."""
    name, model = network.card.name, network.model
    check_size(model, x[:1])
    check_deterministic(name, model, x[:1])
    largest = check_range(name, model, x) if dtype == "float16" else None
    lean, changes = fold_if_it_can(model, x[:1])
    card = replace(network.card, fixed_size=fixed, dtype=dtype, folded=changes)  # type: ignore[arg-type]
    return card, lean, largest


def fold_if_it_can(model: nn.Module, x: Tensor) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the folded network and what was folded, or the network itself and why it was not."""
    try:
        net = fold(model, x)
    except InputError as error:
        return model, (f"{NOT_FOLDED}: {error}",)
    places = Counter(entry.identity for entry in folded(net).folds)
    return net, tuple(f"{identity}: {count}" for identity, count in places.items())


def has_fixed_size(model: nn.Module) -> bool:
    """Tell whether timm notes that a network takes one image size alone."""
    return bool((getattr(model, "pretrained_cfg", None) or {}).get("fixed_input_size"))


def calibration_images(path: Path, images: Preprocessing) -> Tensor:
    """Read pictures for the quantiser, spread evenly over the folder where there are many.

    Where some lie under a folder called train, the others are left alone: they may be meant to
    judge the result.

    Shape: (N, C, H, W).
    """
    tree = open_tree(path)
    every = pictures_in(tree)
    files = [name for name in every if in_training(name)] or every
    if len(files) < MIN_CALIBRATION:
        raise InputError(
            f"--calibrate {path}: holds {len(files)} pictures, too few to take ranges from; give "
            f"at least {MIN_CALIBRATION}"
        )
    count = min(len(files), MAX_CALIBRATION)
    return load_inputs(tree, [files[i * len(files) // count] for i in range(count)], images)


def _inputs(calibration: Tensor | str | Path | None, images: Preprocessing) -> Tensor:
    if calibration is None:
        return noise(images.input_size, MIN_IMAGES)
    if isinstance(calibration, Tensor):
        return calibration
    return calibration_images(Path(calibration), images)


def _scores(
    model: nn.Module, run: Forward, images: Preprocessing, dtype: str, judged: Labelled
) -> dict[str, float]:
    return {
        "images": len(judged.files),
        "top1_eager": accuracy(model, judged, images)["top1"],
        f"top1_{dtype}": accuracy(run, judged, images)["top1"],
    }


def _check(
    format: str, out: Path, dtype: str, card: Card, calibrated: bool, force: bool
) -> Preprocessing:
    if format not in FORMATS:
        raise unknown("format", format, (HUB, *FORMATS))
    runtime, file = FORMATS[format]
    if dtype not in file.dtypes:
        raise InputError(f"{format} files have no {dtype}; choose from {', '.join(file.dtypes)}")
    for package in runtime.packages:
        need(package, f"format {format!r}")
    _check_target(out, format, file, force)
    if dtype == "int8" and not calibrated:
        raise InputError("int8 takes its ranges from pictures; give a folder of them (--calibrate)")
    if card.images is None:
        raise InputError(f"{card.name} notes no image size; build it through timm")
    return card.images


def _check_target(out: Path, format: str, file: FileFormat, force: bool) -> None:
    if out.suffix != file.suffix:
        raise InputError(f"--out {out}: a file for {format} ends in {file.suffix}")
    for path in file.files(out):
        check_free(path, force)
