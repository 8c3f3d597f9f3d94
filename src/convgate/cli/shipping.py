"""What `convgate export` does after it has opened the network, and what it says."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import fill

from convgate.deploy import (
    Exported,
    Source,
    calibration_images,
    export,
    open_labelled,
    save_hub,
)
from convgate.deploy.formats import FORMATS
from convgate.errors import InputError, unknown

HUB = "hub"
WIDTH = 80


def ship(
    source: Source,
    form: str,
    out: Path,
    dtype: str,
    fixed_size: bool,
    calibrate: Path | None,
    validate: Path | None,
) -> Iterator[str]:
    """Write the network and yield the lines to print.

    Raises:
        InputError: as `save_hub` and `export` do, and for options that the format does not take.
    """
    if form not in (HUB, *FORMATS):
        raise unknown("format", form, (HUB, *FORMATS))
    if form == HUB:
        if dtype != "float32" or fixed_size or calibrate or validate:
            raise InputError("the hub layout holds float32 weights as they are; do without options")
        save_hub(source.model, source.about, out)
        yield f"{source.about.name}, weights: {source.about.weights}"
        yield str(out)
        return
    spec = source.about.images
    exported = export(
        source,
        form,
        out,
        dtype=dtype,
        fixed_size=fixed_size,
        calibration=calibration_images(calibrate, spec) if calibrate and spec else None,
        validation=open_labelled(validate, source.about) if validate else None,
    )
    yield from (fill(line, WIDTH, subsequent_indent="  ") for line in _lines(exported, fixed_size))
    yield from map(str, exported.files)


def _lines(exported: Exported, asked: bool) -> Iterator[str]:
    about = exported.about
    yield f"{about.name}, {about.dtype}, weights: {about.weights}"
    size = "x".join(map(str, about.images.input_size)) if about.images else "?"
    if about.fixed_size:
        why = "" if asked else ", for the network takes no other"
        yield f"images of {size} only{why}; any batch"
    else:
        yield f"images of {size} or another size; any batch"
    yield from (f"folded: {line}".replace("folded: not", "not", 1) for line in about.folded)
    yield f"largest difference to the eager network: {exported.difference:.1e} of its output's norm"
    if exported.largest is not None:
        yield f"largest number inside: {exported.largest:.4g}; float16 holds 65504"
    scores = about.scores
    if scores:
        yield (
            f"top-1 on {scores['images']:,.0f} images: {scores['top1_eager']:.2f} % eager, "
            f"{scores[f'top1_{about.dtype}']:.2f} % {about.dtype}"
        )
    elif about.dtype == "int8":
        yield "accuracy not measured; give --validate FOLDER"
