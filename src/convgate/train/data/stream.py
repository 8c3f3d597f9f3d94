"""Sets whose pictures are prepared one at a time, by worker processes."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import torch
from timm.data.auto_augment import rand_augment_ops
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import InterpolationMode, RandomResizedCrop

from convgate.errors import CorruptFile
from convgate.pictures.decoding import from_tensor, square, to_tensor
from convgate.pictures.labelled import Pictures
from convgate.pictures.order import Share, generator, seed_of, seeded
from convgate.train.data.augment import mirror, pad_crop
from convgate.train.data.specs import AugmentSpec

# At exactly 10, posterize would keep no bit at all, which Pillow refuses.
_MAX_MAGNITUDE = 9.99
_OPERATIONS = (
    "AutoContrast", "Equalize", "Invert", "Rotate", "PosterizeIncreasing", "SolarizeIncreasing",
    "SolarizeAdd", "ColorIncreasing", "ContrastIncreasing", "BrightnessIncreasing",
    "SharpnessIncreasing", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel",
)  # fmt: skip
T = TypeVar("T")


class RandAugment:
    """Two random operations a picture, each applied with probability 1/2.

    Operations and strengths are timm's increasing set ("inc1"): severity grows with magnitude.
    Source: arXiv 1909.13719, section 3.
    """

    def __init__(self, spec: AugmentSpec) -> None:
        self._operations = rand_augment_ops(
            magnitude=spec.randaugment_magnitude,
            hparams={"magnitude_std": spec.randaugment_mstd, "magnitude_max": _MAX_MAGNITUDE},
            transforms=list(_OPERATIONS),
        )

    def __call__(self, pixels: Tensor, seed: int) -> Tensor:
        """Change one picture, uint8 (C, H, W), as ``seed`` says."""
        picture = from_tensor(pixels)
        image = picture.convert("RGB")  # the operations fill with a colour
        with _seeded(seed):
            for operation in random.choices(self._operations, k=2):
                image = operation(image)
        return to_tensor(image.convert(picture.mode))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed Python's global generator, which timm's operations draw from, for one block."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


class PreparePicture:
    """One picture to uint8 (C, image_px, image_px): a pure function of (seed, epoch, index).

    Training takes window, mirror and RandAugment in this order; validation (``augment`` None)
    takes the middle of the picture.
    """

    def __init__(self, image_px: int, augment: AugmentSpec | None = None, seed: int = 0) -> None:
        self.image_px, self.augment, self.seed = image_px, augment, seed
        # 8 to 100 % of the area, 3:4 to 4:3: Szegedy et al., arXiv 1409.4842, section 6
        self._window = RandomResizedCrop(
            image_px, (0.08, 1), (3 / 4, 4 / 3), InterpolationMode.BICUBIC
        )
        self.strong = augment is not None and augment.randaugment_magnitude > 0
        self._rand_augment = RandAugment(augment) if augment is not None and self.strong else None

    def __call__(self, pictures: Pictures, index: int, epoch: int) -> Tensor:
        image = pictures.load(index)
        if self.augment is None:
            return to_tensor(square(image, self.image_px))
        rng = generator(self.seed, epoch, "picture", index)
        if self.augment.crop == "resized":
            with seeded(seed_of(self.seed, epoch, "window", index)):
                pixels = to_tensor(self._window(image))
        else:
            pixels = to_tensor(square(image, self.image_px))
        pixels = self._move(pixels.unsqueeze(0), self.augment, rng).squeeze(0)
        if self._rand_augment is None:
            return pixels
        return self._rand_augment(pixels, seed_of(self.seed, epoch, "operations", index))

    def _move(self, x: Tensor, augment: AugmentSpec, rng: torch.Generator) -> Tensor:
        if augment.crop == "pad":
            padding = augment.crop_padding
            offsets = torch.randint(2 * padding + 1, (1, 2), generator=rng)
            x = pad_crop(x, offsets, padding)
        if augment.flip:
            x = mirror(x, torch.rand(1, generator=rng) < 0.5)
        return x


class StreamSource:
    """Pictures prepared again in every epoch."""

    def __init__(self, pictures: Pictures, prepare: PreparePicture, workers: int) -> None:
        self.pictures, self.prepare, self.workers = pictures, prepare, workers

    def load(self, shares: Sequence[Share], epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for items in load_items(partial(self._item, epoch=epoch), shares, self.workers):
            if not items:
                yield self._nothing()
                continue
            pixels, labels = zip(*items, strict=True)
            yield torch.stack(pixels), torch.tensor(labels)

    def _item(self, index: int, epoch: int) -> tuple[Tensor, int]:
        return self.prepare(self.pictures, index, epoch), int(self.pictures.labels[index])

    def _nothing(self) -> tuple[Tensor, Tensor]:
        """Return a batch without pictures, which a process with fewer of them ends with."""
        pixels = to_tensor(self.pictures.load(0))
        size = (0, len(pixels), self.prepare.image_px, self.prepare.image_px)
        return pixels.new_empty(size), torch.empty(0, dtype=torch.long)


def load_items(
    prepare: Callable[[int], T], shares: Sequence[Share], workers: int
) -> Iterator[list[T]]:
    """Yield what ``prepare`` makes of the pictures of each share, in that many processes."""
    loader: DataLoader[T | CorruptFile] = DataLoader(
        _Items(prepare),
        batch_sampler=[share.indices.tolist() for share in shares],
        num_workers=min(workers, len(shares)),
        collate_fn=list,
        # The loader draws a seed; from a generator of its own, so that the global one, which
        # dropout uses, is the same with any number of workers.
        generator=generator("loader"),
    )
    for items in loader:
        for item in items:
            if isinstance(item, CorruptFile):
                raise item
        yield items


class _Items(Dataset[T | CorruptFile]):
    def __init__(self, prepare: Callable[[int], T]) -> None:
        self.prepare = prepare

    def __getitem__(self, index: int) -> T | CorruptFile:
        try:
            return self.prepare(index)
        except CorruptFile as problem:
            # As a value: an exception would arrive wrapped in the worker's traceback.
            return problem
