"""PASCAL VOC 2007 and 2012: detection from XML, segmentation from pictures of classes."""

from dataclasses import dataclass
from xml.etree import ElementTree

from convgate.errors import CorruptFile, InputError
from convgate.pictures.archives import Tree
from convgate.train.annotated.images import AnnotatedImage, AnnotatedImages, Annotation

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip


@dataclass(frozen=True)
class _Year:
    """A published set: its folder, its lists of pictures, and the folder of its class masks."""

    folder: str
    train: str
    val: str
    masks: str = "SegmentationClass"


VOC_SETS = {
    "voc2007": _Year("VOC2007", "trainval", "test"),
    "voc2012": _Year("VOC2012", "train", "val"),
    "voc2012_aug": _Year("VOC2012", "train_aug", "val", "SegmentationClassAug"),
}


def read_voc(
    tree: Tree, name: str, *, segment: bool
) -> tuple[tuple[str, ...], AnnotatedImages, AnnotatedImages]:
    """Return the 20 classes and both splits.

    Boxes of VOC count pixels from 1 and include the last one; here they begin at 0 and exclude it.
    """
    year = VOC_SETS[name]
    files = set(tree.files(""))
    top = _top(tree, files, year)
    if name == "voc2012_aug" and not segment:
        raise InputError("voc2012_aug holds masks alone; use voc2012 for detection")
    splits = []
    for split in (year.train, year.val):
        stems = _stems(
            tree, files, f"{top}ImageSets/{'Segmentation' if segment else 'Main'}/{split}.txt"
        )
        if segment:
            folder = year.masks if split == year.train else "SegmentationClass"
            items = [_masked(top, stem, folder, files) for stem in stems]
        else:
            items = [_boxed(tree, top, stem, files) for stem in stems]
        splits.append(AnnotatedImages(tree, items))
    return VOC_CLASSES, splits[0], splits[1]


def _top(tree: Tree, files: set[str], year: _Year) -> str:
    """Return the year's folder with its slash, or "" where the tree is that folder."""
    marker = "JPEGImages/"
    tops = {file[: file.index(marker)] for file in files if marker in file}
    named = [top for top in tops if top.rstrip("/").endswith(year.folder)]
    if len(named) == 1 or len(tops) == 1:
        return (named or list(tops))[0]
    raise InputError(
        f"{tree.where}: no folder {year.folder} with JPEGImages, Annotations and ImageSets in it"
    )


def _stems(tree: Tree, files: set[str], file: str) -> list[str]:
    if file not in files:
        raise InputError(f"{tree.where}: {file} is missing, the list of the split's pictures")
    stems = [
        line.split()[0]
        for line in tree.read(file).decode("utf-8", "replace").splitlines()
        if line.strip()
    ]
    if not stems:
        raise InputError(f"{tree.where}: {file} lists no picture")
    return stems


def _masked(top: str, stem: str, folder: str, files: set[str]) -> AnnotatedImage:
    picture, mask = f"{top}JPEGImages/{stem}.jpg", f"{top}{folder}/{stem}.png"
    missing = next((file for file in (picture, mask) if file not in files), None)
    return AnnotatedImage(
        picture, class_file=mask, fault=f"{missing} is missing" if missing else ""
    )


def _boxed(tree: Tree, top: str, stem: str, files: set[str]) -> AnnotatedImage:
    picture, sheet = f"{top}JPEGImages/{stem}.jpg", f"{top}Annotations/{stem}.xml"
    for file in (picture, sheet):
        if file not in files:
            return AnnotatedImage(picture, fault=f"{file} is missing")
    try:
        root = _parse(tree.read(sheet))
        size = int(root.findtext("size/width", "")), int(root.findtext("size/height", ""))
        return AnnotatedImage(
            picture, tuple(_annotation(found) for found in root.iter("object")), size
        )
    except (CorruptFile, ElementTree.ParseError, ValueError) as error:
        return AnnotatedImage(picture, fault=f"{sheet} is damaged ({error})")


def _parse(data: bytes) -> ElementTree.Element:
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:  # which could grow without bound
        raise ValueError("it defines a document type")
    return ElementTree.fromstring(data)


def _annotation(found: ElementTree.Element) -> Annotation:
    name = found.findtext("name", "").strip()
    if name not in VOC_CLASSES:
        raise ValueError(f"unknown class {name!r}")
    left, top, right, bottom = (
        float(found.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax")
    )
    difficult = found.findtext("difficult", "0").strip() == "1"
    box = (left - 1, top - 1, right, bottom)
    return Annotation(box, VOC_CLASSES.index(name) + 1, difficult=difficult)
