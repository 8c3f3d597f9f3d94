"""Names of ImageNet's classes, and labels that tell networks apart."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset
from torch import nn

from convgate.models.create import TORCHVISION
from convgate.storage import WEIGHTS

_SYNSET = re.compile(r"n\d{8}")


def imagenet_classes(network: nn.Module, name: str) -> tuple[str, ...]:
    """Return the synsets, as "n01440764", in the order of the outputs; none for other networks.

    The set follows from the number of outputs, as timm does; torchvision's default weights all know
    ImageNet's 1,000.
    """
    ours = infer_imagenet_subset(network)
    subset = "imagenet-1k" if name.startswith(TORCHVISION) else ours
    return tuple(_info(subset).label_names()) if subset else ()  # type: ignore[no-untyped-call]


def described(label: str) -> str:
    """Return what a synset means, "tench, Tinca tinca"; any other name is returned as it is."""
    if not _SYNSET.fullmatch(label):
        return label
    try:
        return _info("imagenet-1k").label_name_to_description(label)
    except KeyError:  # a synset of no set that timm describes
        return label


def class_words(label: str) -> set[str]:
    """Return the names of a class: of a synset also those in words, "tench" and "Tinca tinca"."""
    return {label, *described(label).split(", ")}


def classes_called(classes: Sequence[str], name: str) -> list[int]:
    """Return the numbers of the classes that have a name, in capitals or not."""
    if name in classes:
        return [classes.index(name)]
    known = [{word.lower() for word in class_words(label)} for label in classes]
    return [number for number, words in enumerate(known) if name.lower() in words]


def told_apart(labels: Sequence[str], refs: Sequence[str]) -> list[str]:
    """Return labels of networks; equal ones get as much of their path's end as no other has.

    Args:
        labels: Of the networks.
        refs: What they were opened by; a name is not changed.
    """
    places = [Path(ref).parent if Path(ref).name == WEIGHTS else Path(ref) for ref in refs]
    ends = [
        [places[k].parts for k, other in enumerate(labels) if other == label and k != i]
        for i, label in enumerate(labels)
    ]
    return distinct(
        [
            f"{label} ({_own_end(place.parts, others)})" if others and place.exists() else label
            for label, place, others in zip(labels, places, ends, strict=True)
        ]
    )


def distinct(names: Sequence[str]) -> list[str]:
    """Return names of which every equal one after the first has a number: "net", "net (2)"."""
    seen = [list(names[: place + 1]).count(name) for place, name in enumerate(names)]
    return [
        name if count == 1 else f"{name} ({count})" for name, count in zip(names, seen, strict=True)
    ]


def _own_end(parts: Sequence[str], others: Sequence[Sequence[str]]) -> str:
    depths = range(1, len(parts) + 1)
    own = (d for d in depths if all(other[-d:] != parts[-d:] for other in others))
    return str(Path(*parts[-next(own, len(parts)) :]))


@cache
def _info(subset: str) -> ImageNetInfo:
    return ImageNetInfo(subset)
