"""What a recipe says about its data: the ``[data]`` and ``[augment]`` sections."""

import math
from dataclasses import dataclass

from convgate.errors import InputError, suggest

DATASETS: tuple[str, ...] = (
    "digits", "cifar10", "cifar100", "flowers102", "stanford_cars", "fgvc_aircraft", "imagenet",
    "folder",
)  # fmt: skip
DETECTION_DATASETS: tuple[str, ...] = ("coco", "voc2007", "voc2012", "voc2012_aug", "pennfudan")
"""Sets of pictures with objects in them."""
STORAGES = ("auto", "memory", "stream")
MAX_IMAGE_PX = 8192
MAX_WORKERS = 1024
CROPS = ("none", "pad", "resized")


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Which pictures, how many, and where they live."""

    name: str  # a set of `convgate ls data`; "folder" for pictures of your own
    # height and width of what the network sees, in pixels; in detection and segmentation the
    # longest side at which a picture is read, boxes and masks with it (a detector then resizes by
    # itself)
    image_px: int
    # an image-folder tree (``train/CLASS/*.jpg``, ``val/CLASS/*.jpg``), a zip of one, or the folder
    # that holds a set's official layout; every set but "digits" needs it, such as "photos.zip"
    path: str | None = None
    # 0 for all training pictures, else the size of a subset (class-balanced, except in detection
    # and segmentation), the same one for every training seed
    train_count: int = 0
    val_count: int = 0  # the same for the validation pictures, also the same ones for every seed
    # share of each class that is held out for validation where a folder has no val, or neither
    # train nor val; always the same pictures, such as 0.2
    val_share: float = 0.0
    # share of the training pictures, of each class where they have one, that is not trained on but
    # scored in place of the validation pictures, which stay unseen; always the same ones
    held_out: float = 0.0
    # of the channels in 0 .. 1, taken off each picture, one for all or one for each; left out, what
    # the weights were learned with that a network starts from, else that of the training pictures
    # (ImageNet's where they are streamed), such as [0.5]
    mean: tuple[float, ...] | None = None
    # of the channels, which they are divided by; as ``mean``, such as [0.5]
    std: tuple[float, ...] | None = None
    skip_bad: bool = False  # leave out and list damaged pictures and faulty annotations
    workers: int = 2  # threads that decode at the start, or processes that decode during training
    # "memory" (decoded once), "stream" (decoded in every epoch) or "auto" (memory as long as the
    # decoded bytes stay below about 2 GB)
    storage: str = "auto"

    def __post_init__(self) -> None:
        _raise(
            "data",
            _choice("name", self.name, DATASETS + DETECTION_DATASETS),
            _between("image_px", self.image_px, 1, MAX_IMAGE_PX),
            _at_least("train_count", self.train_count, 0),
            _at_least("val_count", self.val_count, 0),
            _within("val_share", self.val_share, 0.9),
            _within("held_out", self.held_out, 0.9),
            _between("workers", self.workers, 0, MAX_WORKERS),
            _choice("storage", self.storage, STORAGES),
            _normalisation(self.mean, self.std),
        )


@dataclass(frozen=True, kw_only=True)
class AugmentSpec:
    """What happens to training pictures; validation never sees any of it."""

    # "none", "pad" (black border of ``crop_padding`` pixels, then a random window) or "resized" (a
    # random 8 to 100 % of the area, aspect 3:4 to 4:3, scaled to the input)
    crop: str = "none"
    crop_padding: int = 4  # border of the "pad" crop in pixels
    flip: bool = False  # mirror left to right with probability 1/2
    # magnitude of RandAugment in timm's increasing set, 0 to 10, two operations a picture; 0 turns
    # it off
    randaugment_magnitude: float = 0.0
    randaugment_mstd: float = 0.5  # standard deviation of that magnitude
    # alpha of mixup's Beta(alpha, alpha), 0 turns it off. With ``cutmix`` too, each batch takes one
    # of the two with equal probability
    mixup: float = 0.0
    cutmix: float = 0.0  # alpha of CutMix's Beta(alpha, alpha), 0 turns it off
    random_erasing: float = 0.0  # probability that one rectangle of a picture becomes normal noise
    label_smoothing: float = 0.0  # probability mass spread evenly over all classes

    def __post_init__(self) -> None:
        _raise(
            "augment",
            _choice("crop", self.crop, CROPS),
            _at_least("crop_padding", self.crop_padding, 0),
            _within("randaugment_magnitude", self.randaugment_magnitude, 10),
            _within("randaugment_mstd", self.randaugment_mstd, math.inf),
            _within("mixup", self.mixup, math.inf),
            _within("cutmix", self.cutmix, math.inf),
            _within("random_erasing", self.random_erasing, 1),
            _within("label_smoothing", self.label_smoothing, 1),
        )

    @property
    def mixes(self) -> bool:
        """Whether pictures of a batch are blended in pairs."""
        return self.mixup > 0 or self.cutmix > 0


def _choice(key: str, value: str, choices: tuple[str, ...]) -> str:
    return "" if value in choices else f"unknown {key} {value!r}{suggest(value, choices)}"


def _at_least(key: str, value: int, low: int) -> str:
    return "" if value >= low else f"{key} is {value}, but must be at least {low}"


def _between(key: str, value: int, low: int, high: int) -> str:
    inside = low <= value <= high
    return "" if inside else f"{key} is {value}, but must be between {low} and {high}"


def _within(key: str, value: float, high: float) -> str:
    if 0 <= value <= high and math.isfinite(value):  # also refuses nan
        return ""
    range_text = f"between 0 and {high}" if math.isfinite(high) else "0 or more, and finite"
    return f"{key} is {value}, but must be {range_text}"


def _normalisation(mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> str:
    if (mean is None) != (std is None):
        return "mean and std belong together; give both or none"
    if mean is None or std is None:
        return ""
    if len(mean) not in (1, 3) or len(mean) != len(std) or min(std) <= 0:
        return f"mean {list(mean)} and std {list(std)} must be of 1 or 3 channels, std above 0"
    return ""


def _raise(section: str, *problems: str) -> None:
    found = [problem for problem in problems if problem]
    if found:
        raise InputError(f"[{section}] {'; '.join(found)}")
