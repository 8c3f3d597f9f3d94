"""What is wrong with annotations, found before the first step: all of it, each with its file."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from convgate.errors import CorruptFile, InputError
from convgate.pictures.masks import read_numbers, shape_fault
from convgate.train.annotated.images import AnnotatedImage, AnnotatedImages, Annotation

_ROUNDING_PX = 1.0  # how far a box may pass the border; it is cut off there
_LISTED = 100


@dataclass(frozen=True)
class _Checked:
    """A picture without its faults (None where the whole picture is bad), and the faults."""

    item: AnnotatedImage | None
    faults: tuple[str, ...]


def check(
    splits: Mapping[str, AnnotatedImages],
    *,
    classes: int,
    masks: bool,
    skip_bad: bool,
    workers: int,
) -> tuple[dict[str, AnnotatedImages], tuple[str, ...]]:
    """Decode every picture once and hold its annotations against it.

    A picture without objects is fine. Faults are: a picture that is missing or damaged, an
    annotation without its picture, a size or mask that is not the picture's, a box of no area or
    beyond the border by more than a pixel.

    Returns:
        The splits without what is faulty, and one sentence a fault.
    """
    kept: dict[str, AnnotatedImages] = {}
    faults: list[str] = []
    for split, images in splits.items():
        with ThreadPoolExecutor(max(1, workers)) as pool:
            one = partial(_check, images, masks=masks, classes=classes)
            found = list(pool.map(one, range(len(images))))
        good = [checked.item for checked in found if checked.item is not None]
        kept[split] = replace(images, items=good)
        faults += [*images.faults, *(fault for checked in found for fault in checked.faults)]
    if faults and not skip_bad:
        where = next(iter(splits.values())).tree.where
        raise InputError(_sentence(where, faults))
    for split, images in kept.items():
        if not len(images):
            raise InputError(f"{images.tree.where}: no {split} picture without a fault is left")
    return kept, tuple(faults)


def _sentence(where: str, faults: Sequence[str]) -> str:
    shown = "; ".join(faults[:_LISTED])
    more = f"; and {len(faults) - _LISTED} more" if len(faults) > _LISTED else ""
    count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
    return f"{where}: {count}: {shown}{more}; mend them or leave them out with --skip-bad"


def _check(images: AnnotatedImages, index: int, *, masks: bool, classes: int) -> _Checked:
    item = images.items[index]
    if item.fault:
        return _Checked(None, (f"{item.file}: {item.fault}",))
    try:
        size = images.picture(index).size
        whole = _whole_fault(images, item, size, classes)
    except CorruptFile as error:
        return _Checked(None, (str(error),))
    if whole:
        return _Checked(None, (f"{item.file}: {whole}",))
    bad = [_annotation_fault(a, size, masks) for a in item.annotations]
    faults = [f"{item.file}: object {i} {fault}" for i, fault in enumerate(bad, 1) if fault]
    sound = tuple(a for a, fault in zip(item.annotations, bad, strict=True) if not fault)
    return _Checked(replace(item, annotations=sound), tuple(faults))


def _whole_fault(
    images: AnnotatedImages, item: AnnotatedImage, size: tuple[int, int], classes: int
) -> str:
    """Return what makes the whole picture unusable: sizes that do not agree, unknown classes."""
    if item.size not in (None, size):
        return f"is {_times(size)}, but its annotation or mask says {_times(item.size)}"
    if item.class_file is None:
        return ""
    numbers = read_numbers(images.tree.read(item.class_file), item.class_file)
    found = numbers.shape[1], numbers.shape[0]
    if found != size:
        return f"is {_times(size)}, but its mask {item.class_file} is {_times(found)}"
    strange = numbers[(numbers > classes) & (numbers < 255)]
    return f"has the unknown class {int(strange[0])} in {item.class_file}" if len(strange) else ""


def _times(size: tuple[int, int] | None) -> str:
    return " x ".join(map(str, size or ()))


def _annotation_fault(annotation: Annotation, size: tuple[int, int], masks: bool) -> str:
    left, top, right, bottom = annotation.box
    text = f"({left:g}, {top:g}, {right:g}, {bottom:g})"
    if not (right > left and bottom > top):  # also what is not a number
        return f"has a box of no area {text}"
    width, height = size
    beyond = max(-left, -top, right - width, bottom - height)
    if not beyond <= _ROUNDING_PX or min(width - left, height - top, right, bottom) <= 0:
        return f"has a box {text} outside the picture of {_times(size)}"
    if masks and annotation.shape is None:
        return "has no mask"
    return shape_fault(annotation.shape, size) if masks else ""
