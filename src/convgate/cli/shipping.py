"""What `convgate export` does after it has opened the network, and what it says."""

from collections.abc import Iterator
from pathlib import Path

from convgate.deploy import calibration_images, export
from convgate.deploy.runtimes import FORMATS
from convgate.errors import InputError, unknown
from convgate.networks import Network, open_labelled, save_hub

HUB = "hub"


def ship(
    source: Network,
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
        save_hub(source.model, source.card, out)
        yield f"{source.card.name}, weights: {source.card.weights}"
        yield str(out)
        return
    spec = source.card.images
    exported = export(
        source,
        form,
        out,
        dtype=dtype,
        fixed_size=fixed_size,
        calibration=calibration_images(calibrate, spec) if calibrate and spec else None,
        validation=open_labelled(validate, source.card) if validate else None,
    )
    yield str(exported)
