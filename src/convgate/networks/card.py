"""What a file of a network says of it: one record for weights, hub folders, ONNX and OpenVINO."""

import json
import platform
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from torch import Tensor

from convgate import spec
from convgate.errors import CorruptFile, InputError, without_password
from convgate.networks.preprocessing import Preprocessing
from convgate.networks.specs import BaseSpec, DetectorSpec, PlacedGate, Task
from convgate.pictures.decoding import EXTENSIONS
from convgate.storage import LAST, WEIGHTS, load_weights, save_weights

KEY = "convgate"
"""The name under which every format carries the card, as JSON."""
VERSION = 2
RANDOM = "random"
_PACKAGES = ("convgate", "torch", "timm", "torchvision", "onnx", "openvino", "nncf")

CONFIG = "config.json"
"""The file that makes a folder a hub folder."""
KINDS = (
    "a name of `convgate ls models`, the folder of a finished run, a .safetensors file that "
    "`convgate train` or `convgate insert` wrote, or a hub folder"
)
_FILES = {
    ".onnx": "an ONNX file",
    ".xml": "an OpenVINO file",
    ".bin": "the weights of an OpenVINO file",
    ".toml": "a recipe",
    ".zip": "an archive",
    **dict.fromkeys((".pth", ".pt", ".ckpt", ".tar"), "a file of weights alone"),
    **dict.fromkeys(EXTENSIONS, "a picture"),
}
SUFFIXES = {*_FILES, ".safetensors"}


@dataclass(frozen=True, kw_only=True)
class Card:
    """A network in words: enough to build it, to show it a picture, and to read its answer."""

    version: int = VERSION  # of this record
    task: Task = "classify"  # what it was made for
    model: str = ""  # the backbone's name; empty for a network that somebody built himself
    options: dict[str, object] = field(default_factory=dict)  # what the backbone was built with
    gates: tuple[PlacedGate, ...] = ()  # the gates in it, and where they stand
    base: BaseSpec | None = None  # what an adapter needs; None where the weights are whole
    detector: DetectorSpec | None = None  # what sits on the backbone; None for a classifier
    classes: tuple[str, ...] = ()  # names in the order of the outputs; empty: not known
    weights: str = RANDOM  # where the numbers come from: a run, a file, the library, or "random"
    images: Preprocessing | None = None  # how a picture becomes an input; None where nobody says
    fixed_size: bool = False  # whether only images of that size go in
    dtype: Literal["float32", "float16", "int8"] = "float32"  # of the arithmetic
    folded: tuple[str, ...] = ()  # what `convgate.fold` changed at how many places, or why nothing
    scores: dict[str, float] = field(default_factory=dict)  # percent, as "top1_float32"
    # of Python and the packages that wrote the file
    versions: dict[str, str] = field(default_factory=lambda: installed())
    command: str = field(default_factory=lambda: typed())  # what wrote it
    recipe: str = ""  # the TOML of the run that trained it; empty elsewhere

    @property
    def name(self) -> str:
        """The network in a few words: "mask_rcnn on resnet50 + se"."""
        backbone = " ".join([self.model or "a network of its own", *map(_gate_words, self.gates)])
        return backbone if self.detector is None else f"{self.detector.name} on {backbone}"

    @property
    def is_random(self) -> bool:
        """Whether nothing was ever learned."""
        return self.weights.startswith(RANDOM)

    def to_json(self) -> str:
        """Return one line that `read_card` reads back to an equal record."""
        return json.dumps(spec.to_table(self))


def _gate_words(gate: PlacedGate) -> str:
    return f"without {gate.at}" if gate.name == "none" else f"+ {gate.name}"


def read_card(text: str | None, path: Path) -> Card:
    """Read the card of the file at ``path``."""
    if text is None:
        alone = path.suffix == ".safetensors"
        way = "give the network's name, and the file with --weights" if alone else "export it anew"
        raise InputError(
            f"{path}: does not say which network it holds, so convgate did not write it; {way}"
        )
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict):
        raise CorruptFile(f"{path}: its description is damaged; write it again")
    if table.get("version", VERSION) != VERSION:
        raise InputError(
            f"{path}: its description has version {table['version']!r}, and this convgate reads "
            f"{VERSION}; use the convgate that wrote it"
        )
    return spec.parse(Card, table, name=str(path))


def save_network(path: Path, weights: Mapping[str, Tensor], card: Card) -> None:
    """Write weights and their card as a safetensors file, in one step."""
    save_weights(path, weights, {"format": "pt", KEY: card.to_json()})


def is_hub(path: Path) -> bool:
    """Tell whether a path is a hub folder, ours or anybody's."""
    return (path / CONFIG).is_file()


def load_network(path: Path) -> tuple[dict[str, Tensor], Card]:
    """Read what `save_network` wrote."""
    weights, metadata = load_weights(path)
    return weights, read_card(metadata.get(KEY), path)


def weights_file(path: Path) -> Path:
    """Return the weights of a run's folder, or the weights file that ``path`` is."""
    if path.is_file():
        if path.suffix == ".safetensors":
            return path
        kind = _FILES.get(path.suffix.lower(), "a file of another kind")
        way = "; name its network, and the file with --weights" if "weights alone" in kind else ""
        raise InputError(f"{path}: is {kind}{way or f', and what is taken is {KINDS}'}")
    if (path / WEIGHTS).is_file():
        return path / WEIGHTS
    if (path / LAST).is_file():
        raise InputError(f"{path}: is a run that is not finished; train it to its end")
    if (path / "study.db").is_file():
        raise InputError(f"{path}: is a study; name one of its runs, below {path / 'trials'}")
    raise InputError(f"{path}: is a folder without {WEIGHTS} or {CONFIG}; what is taken is {KINDS}")


def check_learned(card: Card, ref: str) -> None:
    """Ask that a network has learned something.

    Raises:
        InputError: if its weights are random.
    """
    if card.is_random:
        raise InputError(
            f"{ref}: its weights are random, so it has nothing to say of a picture; give "
            "--pretrained, --weights FILE or a trained network"
        )


def installed() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def typed() -> str:
    """Return the command line of this process, its program by name alone."""
    words = [Path(sys.argv[0]).name or "python", *sys.argv[1:]]
    return shlex.join(map(without_password, words))
