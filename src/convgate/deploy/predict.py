"""Classify pictures with any file that was shipped, prepared as the file itself says."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from convgate.deploy.onnx import Forward
from convgate.deploy.runtimes import open_file
from convgate.errors import InputError
from convgate.networks.card import About
from convgate.networks.labels import described
from convgate.networks.opening import open_source

TOP = 5
BATCH = 16


@dataclass(frozen=True)
class Classifier:
    """A network made ready, and what its file says."""

    run: Forward
    about: About


@dataclass(frozen=True)
class Guess:
    """One class, in words where ImageNet has them, and its probability, 0 to 1."""

    name: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one picture, the best first."""

    image: Path
    top: tuple[Guess, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return {"image": str(self.image), "top": [asdict(guess) for guess in self.top]}


def open_classifier(path: Path, *, data: Path | None = None) -> Classifier:
    """Open a run, a weights file, a hub folder, an ONNX file or an OpenVINO IR.

    Args:
        path: The file or folder.
        data: For a run that did not note its images' mean and deviation: where its data lies.

    Raises:
        InputError: for a file that is not there, or says nothing of itself.
        CorruptFile: for a damaged one.
    """
    if not path.exists():
        raise InputError(f"--model {path}: there is no such file or folder")
    exported = open_file(path)
    if exported is not None:
        return Classifier(*exported)
    source = open_source(str(path), data=data)
    return Classifier(source.model, source.about)


def predict(classifier: Classifier, images: Sequence[Path]) -> list[Prediction]:
    """Return the `TOP` most probable classes of each picture.

    Args:
        classifier: What to run.
        images: Image files.

    Raises:
        InputError: if a file is not there, or the network's file does not say how to prepare it.
        CorruptFile: for a file that is no image.
    """
    spec, found = classifier.about.images, []
    if spec is None:
        raise InputError(
            f"{classifier.about.name}: its file does not say how to prepare a picture; export it "
            "through timm"
        )
    for start in range(0, len(images), BATCH):
        part = images[start : start + BATCH]
        with torch.inference_mode():
            odds = classifier.run(spec.batch(part)).float().softmax(1)
        best = odds.topk(min(TOP, odds.shape[1]))
        for image, values, places in zip(part, best.values, best.indices, strict=True):
            pairs = zip(places.tolist(), values.tolist(), strict=True)
            top = tuple(Guess(_name(classifier.about, place), odd) for place, odd in pairs)
            found.append(Prediction(image, top))
    return found


def _name(about: About, place: int) -> str:
    return described(about.classes[place]) if about.classes else f"class {place}"
