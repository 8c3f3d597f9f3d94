"""Names of ImageNet's classes, for networks that come with nothing but the number of them."""

import re
from functools import cache

from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset
from torch import nn

from convgate.models.create import TORCHVISION

_SYNSET = re.compile(r"n\d{8}")


def imagenet_classes(network: nn.Module, name: str) -> tuple[str, ...]:
    """Return the synsets, as "n01440764", in the order of the outputs; none for other networks.

    The set is told by the number of outputs, as timm does; torchvision's default weights all know
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


@cache
def _info(subset: str) -> ImageNetInfo:
    return ImageNetInfo(subset)
