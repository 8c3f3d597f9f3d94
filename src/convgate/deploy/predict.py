"""What is on pictures: classes, objects or pixels, by any network that can be opened."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from convgate.deploy.predictions import Guess, Prediction, Predictions
from convgate.deploy.runtimes import open_file
from convgate.errors import InputError
from convgate.networks.card import Card, check_learned
from convgate.networks.labels import described
from convgate.networks.opening import Network, open_network
from convgate.networks.preprocessing import Preprocessing
from convgate.pictures.archives import FolderTree
from convgate.pictures.decoding import from_tensor
from convgate.pictures.folders import find_pictures
from convgate.storage import replacing
from convgate.train.drawing import Found, draw_classes, draw_objects

TOP = 5
BATCH = 16


@dataclass(frozen=True)
class Predictor:
    """A network made ready to predict: torch's own, or the graph of an exported file."""

    run: Callable[[Any], Any]
    card: Card
    ref: str

    @property
    def images(self) -> Preprocessing:
        """How a picture becomes an input; raises InputError where nobody says."""
        if self.card.images is None:
            raise InputError(f"{self.ref}: does not say how to prepare a picture; export it anew")
        return self.card.images


def open_predictor(ref: str | Path, **options: Any) -> Predictor:
    """Open what can predict: all that `open_network` takes, an .onnx file, or an OpenVINO .xml.

    Raises:
        InputError: for what is none of these.
        CorruptFile: for a damaged file.
    """
    path = Path(ref)
    opened = open_file(path)
    if opened is not None:
        given = [name for name, value in options.items() if value]
        if given:
            raise InputError(f"{path}: holds its own weights; do without {' and '.join(given)}")
        return Predictor(*opened, str(path))
    return _ready(open_network(ref, **options), {})


def predict(
    network: str | Path | Network | Predictor,
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    threshold: float = 0.5,
    force: bool = False,
    **options: Any,
) -> Predictions:
    """Say what is on pictures, prepared as the network's own card says.

    Args:
        network: What `open_predictor` takes, or what it or `open_network` gave.
        images: Picture files, folders or zip archives of pictures.
        out: Of detection and segmentation: a folder that gets one PNG a picture, named after it;
            or the PNG of a lone picture.
        threshold: The smallest score of an object.
        force: Overwrite drawings that are there.
        options: Of `open_network`.

    Raises:
        InputError: if something is not there, the network has learned nothing, or its file does
            not say how to prepare a picture.
        CorruptFile: for a damaged picture or network.
    """
    ready = _ready(network, options)
    check_learned(ready.card, ready.ref)
    paths = [images] if isinstance(images, (str, Path)) else list(images)
    pictures = [picture for path in paths for picture in _pictures(Path(path))]
    if ready.card.task == "classify":
        if out is not None:
            raise InputError(f"--out {out}: a classifier draws nothing; do without")
        return Predictions(_classify(ready, pictures))
    drawings = _drawings(pictures, None if out is None else Path(out), force)
    for _, load in pictures if out is not None else ():
        load()  # a damaged file is refused before anything is written
    see = _pixels if ready.card.task == "segment" else _objects
    return Predictions(
        [
            _drawn(see(ready, name, load(), threshold), drawing)
            for (name, load), drawing in zip(pictures, drawings, strict=True)
        ]
    )


def classify(network: Network, image: Image.Image) -> Prediction:
    """Say what is on one RGB picture that is in memory, by a classifier.

    Raises:
        InputError: if the network has learned nothing.
    """
    check_learned(network.card, network.ref)
    (prediction,) = _classify(_ready(network, {}), [("", lambda: image)])
    return prediction


Picture = tuple[str, Callable[[], Image.Image]]
Seen = tuple[Prediction, Image.Image]


def _ready(network: str | Path | Network | Predictor, options: dict[str, Any]) -> Predictor:
    if isinstance(network, Predictor):
        return network
    if isinstance(network, Network):
        return Predictor(network.model, network.card, network.ref)
    return open_predictor(network, **options)


def _pictures(path: Path) -> list[Picture]:
    """List one picture file, or the pictures of a folder or archive; nothing is decoded yet."""
    files = find_pictures(path, split="")
    alone = path.is_file() and isinstance(files.tree, FolderTree)
    shown = [str(path) if alone else f"{path}/{name}" for name in files.names]
    return [(name, partial(files.load, i)) for i, name in enumerate(shown)]


def _classify(network: Predictor, pictures: Sequence[Picture]) -> Iterator[Prediction]:
    for start in range(0, len(pictures), BATCH):
        part = pictures[start : start + BATCH]
        x = torch.stack([network.images.tensor(load()) for _, load in part])
        with torch.inference_mode():
            shares = network.run(x).float().softmax(1)
        best = shares.topk(min(TOP, shares.shape[1]))
        for (name, _), values, places in zip(part, best.values, best.indices, strict=True):
            pairs = zip(places.tolist(), values.tolist(), strict=True)
            guesses = tuple(Guess(_label(network.card, place), share) for place, share in pairs)
            yield Prediction(image=name, classes=guesses)


def _label(card: Card, place: int) -> str:
    return described(card.classes[place]) if card.classes else f"class {place}"


def _objects(network: Predictor, name: str, whole: Image.Image, threshold: float) -> Seen:
    pixels = network.images.pixels(whole)
    with torch.inference_mode():
        (given,) = network.run([network.images.normalise(pixels)])
    kept = given["scores"] >= threshold
    rows = zip(*(given[key][kept].tolist() for key in ("labels", "scores", "boxes")), strict=True)
    classes = network.card.classes
    here = [Found(classes[label - 1], score, tuple(box)) for label, score, box in rows]
    masks = given["masks"][kept, 0] > 0.5 if "masks" in given else None
    scale = max(whole.size) / max(pixels.shape[1:])
    there = tuple(replace(f, box=_scaled(f.box, scale)) for f in here)
    drawn = draw_objects(from_tensor(pixels), here, masks, classes)
    return Prediction(image=name, objects=there), drawn


def _scaled(box: tuple[float, ...], scale: float) -> tuple[float, float, float, float]:
    left, top, right, bottom = (scale * side for side in box)
    return left, top, right, bottom


def _pixels(network: Predictor, name: str, whole: Image.Image, threshold: float) -> Seen:
    pixels = network.images.pixels(whole)
    with torch.inference_mode():
        found: Tensor = network.run(network.images.normalise(pixels).unsqueeze(0))
    seen = found.argmax(1)[0]
    classes = network.card.classes
    counts = seen.flatten().bincount(minlength=len(classes) + 1)[1:]
    shares = zip(classes, (100 * counts / seen.numel()).tolist(), strict=True)
    prediction = Prediction(image=name, shares={label: x for label, x in shares if x})
    return prediction, draw_classes(from_tensor(pixels), seen)


def _drawn(seen: Seen, drawing: Path | None) -> Prediction:
    prediction, image = seen
    if drawing is None:
        return prediction
    drawing.parent.mkdir(parents=True, exist_ok=True)
    with replacing(drawing) as file:
        image.save(file, "PNG")
    return replace(prediction, drawing=drawing)


def _drawings(pictures: Sequence[Picture], out: Path | None, force: bool) -> Sequence[Path | None]:
    """Name the drawings.

    Raises:
        InputError: for a name that is taken, or that cannot hold them.
    """
    if out is None:
        return [None] * len(pictures)
    if out.suffix.lower() == ".png" and not out.is_dir():
        if len(pictures) != 1:
            raise InputError(f"{out}: one file for {len(pictures)} pictures; name a folder")
        names = [out]
    elif out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; choose a folder for the drawings")
    else:
        names = _numbered(out, [Path(picture).stem for picture, _ in pictures])
    originals = {Path(picture).resolve() for picture, _ in pictures}
    for name in names:
        if name.resolve() in originals:
            raise InputError(f"{name}: the drawing would replace the picture; choose another place")
        if name.exists() and not force:
            raise InputError(f"{name}: exists already; choose another place, or add --force")
    return names


def _numbered(folder: Path, stems: Sequence[str]) -> list[Path]:
    """Return one file a picture; those of one name from several folders get a number."""
    names: list[Path] = []
    for stem in stems:
        name, number = folder / f"{stem}.png", 1
        while name in names:
            number += 1
            name = folder / f"{stem}-{number}.png"
        names.append(name)
    return names
