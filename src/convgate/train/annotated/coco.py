"""COCO's format: one JSON file a split, and pictures in whatever folder holds them.

Read are COCO itself (annotations/instances_train2017.json), its like under any name with "train"
and "val", and one _annotations.coco.json in the folder of each split.
"""

import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from reprlib import repr as short
from typing import Any

from convgate.errors import CorruptFile, InputError
from convgate.pictures.archives import Tree
from convgate.pictures.decoding import EXTENSIONS
from convgate.train.annotated.images import AnnotatedImage, AnnotatedImages, Annotation, Shape

_MAX_JSON_BYTES = 1 << 30
_OTHER_TASKS = ("captions", "keypoints", "panoptic", "stuff", "image_info")
_SAMPLED = 200


def read_coco(tree: Tree) -> tuple[tuple[str, ...], AnnotatedImages, AnnotatedImages]:
    """Return the class names and both splits; labels are 1, 2, ... in the order of category ids."""
    files = tree.files("")
    pictures = {file for file in files if file.lower().endswith(EXTENSIONS)}
    train = _load(tree, _annotations(tree, files, ("train",)))
    val = _load(tree, _annotations(tree, files, ("val", "test")))
    names = _categories(train)
    labels = {name: label for label, name in enumerate(names.values(), 1)}
    splits = [_images(tree, split, labels, pictures) for split in (train, val)]
    return tuple(labels), splits[0], splits[1]


def _annotations(tree: Tree, files: Sequence[str], words: Sequence[str]) -> str:
    sheets = [f for f in files if f.lower().endswith(".json")]
    sheets = [f for f in sheets if not any(task in f.lower() for task in _OTHER_TASKS)]
    for word in words:
        found = [f for f in sheets if word in f.lower()]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(f"{tree.where}: {', '.join(found)} all look like {word}; keep one")
    raise InputError(
        f"{tree.where}: no annotations for {words[0]}; expected a JSON file in COCO's format with "
        f"{words[0]!r} in its path, such as annotations/instances_{words[0]}2017.json"
    )


class _Sheet(dict[str, Any]):
    """A parsed annotation file, which knows its name."""

    def __init__(self, name: str, content: Mapping[str, Any]) -> None:
        super().__init__(content)
        self.name = name


def _load(tree: Tree, file: str) -> _Sheet:
    name = f"{tree.where}/{file}"
    try:
        sheet = _Sheet(file, json.loads(tree.read(file, _MAX_JSON_BYTES)))
        lists = [sheet[key] for key in ("images", "annotations", "categories")]
        ids = [item["id"] for item in (*sheet["images"], *sheet["categories"])]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptFile(f"{name}: not annotations in COCO's format ({error!r})") from None
    if not all(isinstance(part, list) for part in lists) or not sheet["images"]:
        raise CorruptFile(f"{name}: not annotations in COCO's format, or of no picture")
    if not all(isinstance(number, int) for number in ids):
        raise CorruptFile(f"{name}: an id of a picture or category is not a whole number")
    return sheet


def _categories(sheet: _Sheet) -> dict[int, str]:
    found = sorted(sheet["categories"], key=lambda category: category["id"])
    names = {category["id"]: str(category.get("name", category["id"])) for category in found}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if not names:
        raise CorruptFile(f"{sheet.name}: names no category")
    if twice:
        raise CorruptFile(f"{sheet.name}: two categories are called {twice[0]}")
    return names


def _images(
    tree: Tree, sheet: _Sheet, labels: dict[str, int], pictures: set[str]
) -> AnnotatedImages:
    of_category = {number: labels.get(name, 0) for number, name in _categories(sheet).items()}
    folder = _folder(sheet, pictures)
    known = {image["id"] for image in sheet["images"]}
    annotations: dict[int, list[Annotation]] = defaultdict(list)
    faults: list[str] = []
    for entry in sheet["annotations"]:
        try:
            where, annotation = _number(entry, "image_id"), _annotation(entry, of_category)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            number = entry.get("id") if isinstance(entry, dict) else entry
            faults.append(f"{sheet.name}: annotation {short(number)} is damaged: {_words(error)}")
            continue
        if where in known:
            annotations[where].append(annotation)
        else:
            faults.append(
                f"{sheet.name}: annotation {short(entry.get('id'))} has no picture {where}"
            )
    items = [_image(image, annotations[image["id"]], folder, pictures) for image in sheet["images"]]
    return AnnotatedImages(tree, items, tuple(faults))


def _words(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)


def _image(
    image: Any, annotations: list[Annotation], folder: str, pictures: set[str]
) -> AnnotatedImage:
    name = image.get("file_name")
    file = f"{folder}{name}" if isinstance(name, str) else f"{folder}{short(name)}"
    fault = "" if file in pictures else f"no such picture, but {len(annotations)} annotations"
    size = image.get("width"), image.get("height")
    claimed = (size[0], size[1]) if all(isinstance(side, int) for side in size) else None
    return AnnotatedImage(file, tuple(annotations), claimed, fault=fault)


def _folder(sheet: _Sheet, pictures: set[str]) -> str:
    """Return the folder below which most of the split's pictures lie, as far as a sample tells."""
    names = [str(image.get("file_name")) for image in sheet["images"]]
    sample = names[:: max(1, len(names) // _SAMPLED)]
    endings = tuple(sample)
    hits = Counter(
        picture[: -len(name)]
        for picture in pictures
        if picture.endswith(endings)
        for name in sample
        if picture.endswith(name) and picture[: -len(name)][-1:] in ("", "/")
    )
    own = sheet.name.rpartition("/")[0]
    return max(hits, key=lambda folder: (hits[folder], folder.rstrip("/") == own), default="")


def _annotation(entry: Any, of_category: Mapping[int, int]) -> Annotation:
    left, top, width, height = map(float, entry["bbox"])
    category = _number(entry, "category_id")
    if category not in of_category:
        raise ValueError(f"its file lists no category {category!r}")
    label = of_category[category]
    if not label:
        raise ValueError("its category is not among those of the training split")
    return Annotation(
        (left, top, left + width, top + height),
        label,
        crowd=bool(entry.get("iscrowd", 0)),
        area=float(entry.get("area", 0)),
        shape=_shape(entry.get("segmentation")),
    )


def _number(entry: Any, key: str) -> int:
    if not isinstance(entry[key], int):
        raise ValueError(f"its {key} {short(entry[key])} is no number")
    return int(entry[key])


def _shape(segmentation: Any) -> Shape | None:
    if isinstance(segmentation, dict):
        return segmentation
    if not segmentation:
        return None
    # A quarter of the memory that lists of numbers take, which counts for a million objects; in
    # single precision, tenths of a pixel would fall on the other side of pycocotools' rounding.
    return tuple(array("d", part) for part in segmentation)
