"""What a run of detection or segmentation sees in pictures of any kind."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from convgate.errors import InputError
from convgate.pictures.decoding import decode, to_tensor
from convgate.storage import replacing
from convgate.train.annotated.images import shrink
from convgate.train.drawing import Found, draw_classes, draw_objects
from convgate.train.scene_build import build_scene_model
from convgate.train.trained import Trained, read_trained

__all__ = ["Prediction", "predict_scenes"]


@dataclass(frozen=True)
class Prediction:
    """What was seen in one picture.

    Args:
        image: the picture's file.
        found: its objects, best first; none in segmentation.
        shares: in segmentation, class -> share of the pixels in percent, background left out.
        drawing: the file that shows it, if one was asked for.
    """

    image: Path
    found: tuple[Found, ...]
    shares: dict[str, float]
    drawing: Path | None

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction for JSON."""
        drawing = None if self.drawing is None else str(self.drawing)
        return asdict(self) | {"image": str(self.image), "drawing": drawing}


def predict_scenes(
    run: str | Path | Trained,
    images: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    threshold: float = 0.5,
) -> list[Prediction]:
    """Find objects, or the class of each pixel, and draw them.

    Args:
        run: The folder of a finished run of detection or segmentation, or its weights file.
        images: Picture files.
        out: A folder that gets one PNG a picture, named after it; or the PNG of a lone picture.
        threshold: The least score of an object.

    Raises:
        InputError: if the run is not finished or of classification, or a picture is not there.
        CorruptFile: for a damaged picture or weights file.
    """
    stored = run if isinstance(run, Trained) else read_trained(run)
    if stored.recipe.task.name == "classify":
        raise InputError(f"{stored.path}: trained to classify, so it finds no objects")
    # What is missing or damaged is told before the network is built, and nothing is written.
    opened = [_open(Path(name), stored.recipe.data.image_px) for name in images]
    drawings = _names([Path(name) for name in images], None if out is None else Path(out))
    model = build_scene_model(stored.recipe, num_classes=len(stored.classes))
    stored.load_into(model)
    model.eval()
    see = _pixels if stored.recipe.task.name == "segment" else _objects
    predictions = []
    for name, (image, scale), drawing in zip(images, opened, drawings, strict=True):
        found, shares, drawn = see(model, image, scale, stored.classes, threshold)
        if drawing is not None:
            drawing.parent.mkdir(parents=True, exist_ok=True)
            with replacing(drawing) as file:
                drawn.save(file, "PNG")
        predictions.append(Prediction(Path(name), found, shares, drawing))
    return predictions


Seen = tuple[tuple[Found, ...], dict[str, float], Image.Image]


def _objects(
    model: nn.Module, image: Image.Image, scale: float, classes: Sequence[str], threshold: float
) -> Seen:
    with torch.inference_mode():
        (given,) = model([_input(image)])
    kept = given["scores"] >= threshold
    rows = zip(*(given[key][kept].tolist() for key in ("labels", "scores", "boxes")), strict=True)
    here = [Found(classes[label - 1], score, tuple(box)) for label, score, box in rows]
    masks = given["masks"][kept, 0] > 0.5 if "masks" in given else None
    there = tuple(replace(f, box=_scaled(f.box, scale)) for f in here)
    return there, {}, draw_objects(image, here, masks, classes)


def _scaled(box: tuple[float, ...], scale: float) -> tuple[float, float, float, float]:
    left, top, right, bottom = (scale * side for side in box)
    return left, top, right, bottom


def _pixels(
    model: nn.Module, image: Image.Image, scale: float, classes: Sequence[str], threshold: float
) -> Seen:
    with torch.inference_mode():
        seen = model(_input(image).unsqueeze(0)).argmax(1)[0]
    counts = seen.flatten().bincount(minlength=len(classes) + 1)[1:]
    shares = zip(classes, (100 * counts / seen.numel()).tolist(), strict=True)
    return (), {name: share for name, share in shares if share}, draw_classes(image, seen)


def _input(image: Image.Image) -> Tensor:
    return to_tensor(image).float() / 255


def _open(path: Path, longest_px: int) -> tuple[Image.Image, float]:
    """Return a picture as the run's data would be read, and the side of its pixel in the file's."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such picture")
    whole = decode(path.read_bytes(), str(path))
    image = shrink(whole, longest_px)
    return image, max(whole.size) / max(image.size)


def _names(images: Sequence[Path], out: Path | None) -> list[Path | None]:
    """Name the drawings; pictures of one name from several folders get a number."""
    if out is None:
        return [None] * len(images)
    if out.suffix.lower() == ".png" and not out.is_dir():
        return [_lone(images, out)]
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; choose a folder for the drawings")
    names: list[Path | None] = []
    for path in images:
        name, number = out / f"{path.stem}.png", 1
        while name in names:
            number += 1
            name = out / f"{path.stem}-{number}.png"
        names.append(_other(name, path))
    return names


def _lone(images: Sequence[Path], out: Path) -> Path:
    if len(images) != 1:
        raise InputError(f"{out}: one file for {len(images)} pictures; name a folder")
    return _other(out, images[0])


def _other(drawing: Path, picture: Path) -> Path:
    """Return the drawing's name; raise InputError where it is the picture's own."""
    if drawing.resolve() == picture.resolve():
        raise InputError(f"{drawing}: the drawing would replace the picture; choose another place")
    return drawing
