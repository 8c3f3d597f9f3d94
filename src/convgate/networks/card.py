"""What a shipped file says of itself: network, classes, images, versions, command."""

import json
import platform
import shlex
import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from convgate import spec
from convgate.errors import CorruptFile, InputError
from convgate.networks.preprocessing import ImageSpec
from convgate.train.recipe import GateSpec

KEY = "convgate"
"""The name under which every format carries this record, as JSON."""
_PACKAGES = ("convgate", "torch", "timm", "torchvision", "onnx", "openvino", "nncf")


@dataclass(frozen=True, kw_only=True)
class About:
    """One record for a hub folder, an ONNX file and an OpenVINO IR alike.

    Args:
        model: The backbone's name.
        options: What it was built with.
        gate: The gate in it, and where; None for the plain backbone.
        weights: Where the numbers come from: a run, a file, the library, or "random".
        classes: Names in the order of the outputs; empty where they are not known.
        images: How a picture becomes an input; None where nobody says.
        fixed_size: Whether only images of that size go in.
        dtype: Of the arithmetic.
        folded: What `convgate.folding` changed and at how many places, or why it did nothing.
        scores: Measured on the way, as "top1_float32", in percent.
        versions: Of Python and the packages that wrote the file.
        command: What wrote it.
    """

    model: str
    options: dict[str, object] = field(default_factory=dict)
    gate: GateSpec | None = None
    weights: str = "random"
    classes: tuple[str, ...] = ()
    images: ImageSpec | None = None
    fixed_size: bool = False
    dtype: Literal["float32", "float16", "int8"] = "float32"
    folded: tuple[str, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=lambda: installed())
    command: str = field(default_factory=lambda: typed())

    @property
    def name(self) -> str:
        """The backbone, and its gate where it has one."""
        return self.model if self.gate is None else f"{self.model} + {self.gate.name}"

    def to_json(self) -> str:
        """Return one line that `read_about` reads back to an equal record."""
        return json.dumps(spec.to_table(self))


def read_about(text: str | None, path: Path) -> About:
    """Read the record of the file at ``path``.

    Raises:
        InputError: if the file carries none: it is somebody else's.
        CorruptFile: if it is not such a record.
    """
    if text is None:
        raise InputError(
            f"{path}: carries no description of its classes and images, so convgate did not "
            "write it; export the network with convgate"
        )
    try:
        table = json.loads(text)
    except ValueError:
        table = None
    if not isinstance(table, dict):
        raise CorruptFile(f"{path}: its description is damaged; export the network again")
    return spec.parse(About, table, name=str(path))


def installed() -> dict[str, str]:
    """Return the versions of Python and of the packages that are there."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def typed() -> str:
    """Return the command line of this process, its program by name alone."""
    return shlex.join([Path(sys.argv[0]).name or "python", *sys.argv[1:]])
